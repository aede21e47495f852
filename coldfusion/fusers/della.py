"""DELLA: drop elements at random, the small ones of each row more often; then elect signs as in TIES, or sum.

Deep et al. 2024, "DELLA-Merging" (MagPrune). In each row the probability to be kept rises with the rank of
the magnitude from density - epsilon to density + epsilon, in equal steps. A row is what belongs to one index
of the first dimension, which is what one output is made of; a vector is one row. Epsilon is made smaller
where a probability would leave [0, 1], and a row of one element is kept with probability `density`: both are
errors in mergekit. Equal magnitudes are ranked by position. "expected" divides every element by its own
probability, as the paper does; mergekit rescales to the L1 norm ("l1").
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from coldfusion.dtypes import Array, Float64
from coldfusion.errors import ConfigError
from coldfusion.exact.sums import magnitudes
from coldfusion.fusers.family import Facts, Tile
from coldfusion.fusers.masks import everything, masked, nothing
from coldfusion.fusers.sampling import keep_unevenly
from coldfusion.fusers.sparse import Rescale, SparsePlan, check, headroom_of, sparse_fuser, sparse_plan


@dataclass(frozen=True)
class Della:
    """Options of DELLA."""

    density: float = 0.2  # probability to be kept, on average; <= 0: nothing is, >= 1: all is
    epsilon: float = 0.15  # how far the probabilities of the smallest and the largest are from it
    scale: float = 1.0  # lambda
    normalize: bool = True  # divide by the weights that agree
    rescale: Rescale = "expected"

    def __post_init__(self) -> None:
        check(self)
        if self.epsilon < 0:
            raise ConfigError(f"epsilon {self.epsilon} is below 0")


@dataclass(frozen=True)
class DellaLinear(Della):
    """Options of DELLA without an election."""

    normalize: bool = False  # divide by the sum of the weights


@dataclass(frozen=True, slots=True)
class DrawnByRank:
    """Keeps an element with a probability that follows from the rank of its magnitude within its row."""

    density: float
    epsilon: float
    unbiased: bool  # divide by that probability

    def rows(self, tile: Tile) -> Iterator[Array]:
        for key, row in zip(tile.keys, tile.deltas, strict=True):
            kept, probability = self._drawn(tile, key, row)
            if self.unbiased:
                yield np.divide(row, probability, out=np.zeros(len(row)), where=kept)
            else:
                yield masked(row, kept)

    def probabilities(self, rows: Array) -> Float64:
        """(r, c) -> (r, c): to be kept, by element."""
        columns = rows.shape[1]
        reach = self._reach(columns)
        steps = np.arange(columns) * (2 * reach / max(columns - 1, 1))
        probability = np.empty(rows.shape)
        np.put_along_axis(probability, ascending(rows), (self.density - reach + steps)[None], axis=1)
        return np.clip(probability, 0.0, 1.0, out=probability)

    def least(self, shape: tuple[int, ...]) -> float:
        """The smallest probability in a tensor of this shape; where that is next to nothing, the second."""
        columns = _width(shape)
        reach = self._reach(columns)
        return max(self.density - reach, 2 * reach / max(columns - 1, 1))

    def _reach(self, columns: int) -> float:
        return min(self.epsilon, self.density, 1 - self.density) if columns > 1 else 0.0

    def in_c(self, tile: Tile) -> Array | None:
        if self.unbiased:
            return None
        each = zip(tile.keys, tile.deltas, strict=True)
        return np.stack([self._drawn(tile, key, row)[0] for key, row in each])

    def _drawn(self, tile: Tile, key: str, row: Array) -> tuple[Array, Float64]:
        """(who is kept, the probability of it), (t,) each."""
        rows = row.reshape(-1, max(_width(tile.shape), 1))
        probability: Float64 = self.probabilities(rows).reshape(-1)
        return keep_unevenly((tile.seed, key, tile.name), tile.start, probability), probability

    def bounds(self, tile: Tile) -> tuple[int, int] | None:
        return magnitudes(tile.deltas) if tile.deltas.dtype == np.float32 and not self.unbiased else None


def _width(shape: tuple[int, ...]) -> int:
    """Elements of a row: of one index of the first dimension, or of a vector."""
    return math.prod(shape[1:] if len(shape) > 1 else shape)


def ascending(rows: Array) -> Array:
    """(r, c): the columns of each row from the smallest magnitude to the largest, equal ones by position."""
    if rows.dtype != np.float32:
        return np.argsort(np.abs(rows), axis=1, kind="stable")
    # Magnitude and position in one integer: sorting these is twice as fast as a stable sort, and as stable.
    packed = (rows.view(np.uint32) & np.uint32(0x7FFFFFFF)).astype(np.uint64)
    packed <<= np.uint64(32)
    packed |= np.arange(rows.shape[1], dtype=np.uint64)
    packed.sort(axis=1)
    packed &= np.uint64(0xFFFFFFFF)
    return packed.astype(np.int64)


def plan_ties(facts: Facts, weights: Float64, options: Della) -> SparsePlan:
    """fused = scale * sum_i w_i s_i m_i / sum_i w_i m_i, m_i: where w_i s_i has the elected sign."""
    return _plan(facts, weights, options, elect=True)


def plan_linear(facts: Facts, weights: Float64, options: DellaLinear) -> SparsePlan:
    """fused = scale * sum_i w_i s_i."""
    return _plan(facts, weights, options, elect=False)


def _plan(facts: Facts, weights: Float64, options: Della, *, elect: bool) -> SparsePlan:
    n, density = len(weights), options.density
    if not 0 < density < 1:
        return sparse_plan(nothing(n) if density <= 0 else everything(n), weights, options, elect=elect)
    mask = DrawnByRank(density, options.epsilon, unbiased=options.rescale == "expected")
    headroom = headroom_of(1 / mask.least(facts.shape)) if mask.unbiased else 1.0
    return sparse_plan(mask, weights, options, elect=elect, headroom=headroom)


DELLA = tuple(
    sparse_fuser(
        name=name,
        options=options,
        plan=plan,
        tiles="rows",
        summary=summary,
    )
    for name, options, plan, summary in (
        ("della", Della, plan_ties, "drop elements at random, small ones more often; elect signs, average"),
        ("della_linear", DellaLinear, plan_linear, "drop elements at random, small ones more often; sum"),
    )
)
