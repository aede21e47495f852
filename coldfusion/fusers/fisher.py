"""Fisher-weighted mean: every coordinate counts as much as its contributor's loss hangs on it.

Matena and Raffel 2022, eq. 4, on deltas: with sum_i w_i F_i in the divisor, averaging models and averaging
deltas are the same. F_i is the diagonal Fisher information that contribution i ships (see
contributors.fisher), and is believed as the delta itself is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coldfusion.dtypes import Array, Float64
from coldfusion.errors import ConfigError, TensorMismatch
from coldfusion.exact.sums import exact_sum
from coldfusion.fusers.family import Facts, Float32, Fuser, Tile
from coldfusion.fusers.linear import total_of


@dataclass(frozen=True)
class FisherOptions:
    """Options of the Fisher-weighted mean."""

    floor: float = 1e-6  # of the largest F of a coordinate: no contribution counts less there

    def __post_init__(self) -> None:
        if not 0 <= self.floor <= 1:
            raise ConfigError(f"floor is {self.floor:g}: give a share of the largest F, from 0 to 1")


@dataclass(frozen=True, slots=True)
class FisherPlan:
    weights: Float64  # (n,), at least 0
    floor: float


def shares(facts: Facts, weights: Float64, options: FisherOptions) -> FisherPlan:
    """Raises ConfigError for a negative weight: a divisor could then be 0 anywhere."""
    del facts
    if weights.min() < 0:
        raise ConfigError(f"a weight is {weights.min():g}: the Fisher-weighted mean takes 0 and more")
    total_of(weights)
    return FisherPlan(weights, options.floor)


def fisher_mean(tile: Tile, plan: FisherPlan) -> Float64:
    """sum_i w_i F_i d_i / sum_i w_i F_i for every coordinate; where all F are 0, the weighted mean.

    F: tile.extras[0], (n, t), at least 0. It is raised to `floor` times the largest F of its coordinate (the
    authors' code raises it to 1e-6 as it stands, which depends on the scale of the loss). Both sums are
    exact, of terms taken to the size of their largest. Raises TensorMismatch where F is missing, of another
    shape, negative or not finite.
    """
    _check(tile)
    there = plan.weights > 0
    counts = _relative(tile.extras[0][there], plan.floor)
    counts *= plan.weights[there, None]
    counts *= _to_one(counts)
    terms = tile.deltas[there].astype(np.float64)
    up = _to_one(terms)
    terms *= up
    terms *= counts
    fused: Float64 = exact_sum(terms) / exact_sum(counts)
    fused /= up
    return fused


def _to_one(values: Float64) -> Float64:
    """The power of 2 that takes the largest of every column to between 1/2 and 1, (n, t) -> (t,).

    Powers of 2 round nothing, and terms of this size lose nothing on the grid of exact sums.
    """
    _, exponents = np.frexp(np.maximum(values.max(axis=0), -values.min(axis=0)))
    scale: Float64 = np.ldexp(1.0, np.minimum(-exponents, 1000))  # of less than 2^-1000 not much is lost
    return scale


def _relative(fisher: Float32, floor: float) -> Float64:
    """Each F as a share of the largest of its coordinate, (n, t), from `floor` to 1."""
    largest = fisher.max(axis=0).astype(np.float64)
    unknown = largest == 0
    largest[unknown] = 1.0
    relative = fisher.astype(np.float64)
    relative /= largest
    np.maximum(relative, floor, out=relative)
    if unknown.any():
        relative[:, unknown] = 1.0
    return relative


def _check(tile: Tile) -> None:
    if not tile.extras:
        raise TensorMismatch(
            f"{tile.name}: no Fisher diagonal; contributions have to ship one beside the delta"
        )
    fisher = tile.extras[0]
    if fisher.shape != tile.deltas.shape:
        raise TensorMismatch(
            f"{tile.name}: Fisher diagonal {fisher.shape}, its deltas are {tile.deltas.shape}"
        )
    # A NaN is neither at least 0 nor below infinity.
    if fisher.size and not (fisher.min() >= 0 and fisher.max() < np.inf):
        odd: Array = ~((fisher >= 0) & (fisher < np.inf))
        row, column = np.argwhere(odd)[0]
        raise TensorMismatch(
            f"{tile.keys[row]}: Fisher diagonal of {tile.name} is {fisher[row, column]:g} at element "
            f"{tile.start + column}; it must be finite and at least 0"
        )


FISHER = (
    Fuser(
        name="fisher",
        options=FisherOptions,
        plan=shares,
        apply=fisher_mean,
        needs=frozenset({"extras"}),
        summary="mean weighted by the Fisher diagonal that each contribution ships",
    ),
)
