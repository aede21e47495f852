"""What sparse rules share: keep a part of every delta, make up for what was dropped, sum, or elect and sum.

    s_i = r_i * (d_i where the mask of i keeps it, else 0)        r_i: `rescale`
    fused = scale * sum_i w_i s_i / D            D = sum_i w_i if `normalize`, else 1
    fused = scale * elected(w_i s_i) / D         with an election; D: the weights that agree (see `electing`)

The conventions are mergekit 0.1.5's: weights multiply before the election, `scale` (its lambda) after the
division. Rescaling: "none"; "expected" divides by the probability to be kept, as the papers of DARE and DELLA
do; "l1" makes the sum of magnitudes of the tensor what it was, as mergekit does, which takes one more pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol

import numpy as np

from coldfusion.dtypes import Array, Float64
from coldfusion.errors import ConfigError
from coldfusion.exact.scratch import scratch
from coldfusion.exact.sums import LIMIT, magnitude_sum, sums_plainly
from coldfusion.fusers.electing import Election, running_sum
from coldfusion.fusers.family import Fuser, Tile
from coldfusion.fusers.linear import total_of
from coldfusion.fusers.masks import Mask
from coldfusion.native import kernels

Rescale = Literal["none", "expected", "l1"]
Rows = Iterator[tuple[Array, float]]  # what is kept of each delta, and what it is multiplied by


class Sparse(Protocol):
    """The options that all of these rules have."""

    @property
    def density(self) -> float: ...  # share of a delta that is kept; <= 0: nothing, >= 1: all
    @property
    def scale(self) -> float: ...
    @property
    def normalize(self) -> bool: ...
    @property
    def rescale(self) -> Rescale: ...


@dataclass(frozen=True, slots=True)
class SparsePlan:
    """How one tensor is fused."""

    mask: Mask
    weights: Float64  # (n,) on a grid on which n of them sum exactly; ones where they are equal
    ratios: Float64  # (n,) r_i
    factor: float  # what the sum is multiplied by at the end
    divisor: float | None  # None: the weights that agree
    elect: bool
    matched: bool  # whether `refine` is to find the ratios
    headroom: float = 1.0  # power of 2 by which terms are divided to be summed: none may be above LIMIT


def check(options: Sparse) -> None:
    """Refuse what no rule can mean. Raises ConfigError."""
    if options.rescale not in ("none", "expected", "l1"):
        raise ConfigError(f"rescale {options.rescale!r} is not one of none, expected, l1")


def sparse_plan(
    mask: Mask, weights: Float64, options: Sparse, *, elect: bool, boost: float = 1.0, headroom: float = 1.0
) -> SparsePlan:
    """The plan of any of these rules. boost: r_i where it is the same for all elements and contributions.

    headroom: a power of 2 that is not below what the mask's rows are at most larger than the deltas.
    """
    total = total_of(weights) if options.normalize else 1.0
    gridded, unit = on_grid(weights)
    return SparsePlan(
        mask=mask,
        weights=gridded,
        ratios=np.ones(len(weights)),
        factor=options.scale * boost * (1.0 if elect and options.normalize else unit),
        divisor=None if elect and options.normalize else total,
        elect=elect,
        matched=tallies(options),
        headroom=headroom,
    )


def on_grid(weights: Float64) -> tuple[Float64, float]:
    """(weights / unit, unit): ones for equal weights, else at most 1, rounded so that n sum exactly."""
    if (weights == weights[0]).all() and weights[0] > 0:
        return np.ones(len(weights)), float(weights[0])
    unit = 2.0 ** int(np.frexp(np.abs(weights).max())[1])
    grid = 2.0 ** (52 - len(weights).bit_length())
    return np.round(weights / unit * grid) / grid, unit


def apply(tile: Tile, plan: SparsePlan) -> Float64:
    """The fused delta of a tile, (t,), fp64; its memory is scratch."""
    multipliers, factor, bounds = plan.weights * plan.ratios, plan.factor, None
    if (multipliers == multipliers[0]).all() and multipliers[0] > 0:  # multiplied once, at the end
        factor *= float(multipliers[0])
        multipliers = np.ones(len(multipliers))
    multipliers, factor = multipliers / plan.headroom, factor * plan.headroom
    if (multipliers == 1).all():
        if (quick := _in_c(tile, plan, factor)) is not None:
            return quick
        bounds = plan.mask.bounds(tile)
    plain = bounds is not None and sums_plainly(len(multipliers), [bounds])
    rows = zip(plan.mask.rows(tile), multipliers.tolist(), strict=True)
    combine = _elected if plan.elect else _summed
    return combine(rows, tile.deltas.shape[1], plan, factor, plain)


def _in_c(tile: Tile, plan: SparsePlan, factor: float) -> Float64 | None:
    """The same where all multipliers are 1; None where it is left to numpy."""
    counted = plan.divisor is not None or bool((plan.weights == 1).all())
    if not counted or not kernels.take(tile.deltas) or (mask := plan.mask.in_c(tile)) is None:
        return None
    out = scratch("combined", tile.deltas.shape[1], np.float64)
    how = kernels.Combining(factor / 2 if plan.elect else factor, plan.divisor, plan.elect)
    return out if kernels.combine(tile.deltas, mask, how, out) else None


def _elected(rows: Rows, size: int, plan: SparsePlan, factor: float, plain: bool) -> Float64:
    election = Election(size, plain=plain, weights=plan.weights if plan.divisor is None else None)
    for i, (row, multiplier) in enumerate(rows):
        election.add(i, row, multiplier)
    return election.elected(factor)


def _summed(rows: Rows, size: int, plan: SparsePlan, factor: float, plain: bool) -> Float64:
    total = running_sum("sum", size, plain=plain)
    for row, multiplier in rows:
        total.add(row if multiplier == 1 else row * np.float64(multiplier))
    return total.total() * factor / (1.0 if plan.divisor is None else plan.divisor)


def tally(tile: Tile, plan: SparsePlan) -> Float64:
    """(2, n): the sums of magnitudes of the deltas, and of what the mask keeps of them."""
    kept = [magnitude_sum(row) for row in plan.mask.rows(tile)]
    return np.array([[magnitude_sum(row) for row in tile.deltas], kept])


def refine(plan: SparsePlan, totals: Float64) -> SparsePlan:
    """The plan with r_i = |d_i|_1 / |s_i|_1 where it is to be so. Of a delta that kept only zeros r_i is 1.

    mergekit leaves r_i at 1 where either sum is below 1e-7, which depends on the scale; here nothing does.
    """
    if not plan.matched:
        return plan
    ratios = [rounded(whole / kept) if kept > 0 else 1.0 for whole, kept in totals.T.tolist()]
    # What is kept of a delta is at most LIMIT, and times its ratio at most the sum of its magnitudes.
    most = max(min(ratio, whole / LIMIT) for ratio, whole in zip(ratios, totals[0].tolist(), strict=True))
    return replace(plan, ratios=np.array(ratios), matched=False, headroom=headroom_of(most))


def headroom_of(growth: float) -> float:
    """The power of 2, 1 or more, that is not below `growth`: how much larger terms are than deltas."""
    return math.ldexp(1.0, max(math.frexp(growth)[1], 0)) if growth > 1 else 1.0


def rounded(value: float) -> float:
    """To 40 significant bits: sums over the tiles of a tensor need not agree to the last bit."""
    fraction, exponent = math.frexp(value)
    return math.ldexp(round(math.ldexp(fraction, 40)), exponent - 40)


def tallies(options: Sparse) -> bool:
    """Whether `tally` and `refine` have something to find out."""
    return options.rescale == "l1" and 0 < options.density < 1


sparse_fuser = partial(Fuser, apply=apply, tally=tally, tallies=tallies, refine=refine)
"""Makes the Fuser of a rule that `sparse_plan` plans."""
