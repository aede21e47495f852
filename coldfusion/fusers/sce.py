"""SCE: select where contributions differ most, calculate weights, erase what opposes the elected sign.

Wan et al. 2024, "FuseChat": of each tensor the share `select_topk` of the positions, those with the largest
variance over the contributions; a_i in proportion to the mean of d_i^2 over what was selected; signs elected
by sum_i d_i; and

    fused = sum_i a_i m_i d_i / sum_i a_i m_i      m_i: where d_i has the elected sign

as in mergekit, but for: a_i has no absolute epsilon (mergekit's are uniform where sum_i mean(d_i^2) < 1e-6,
which is every ordinary fine-tuning); the divisor is not clamped at 1e-6; positions that tie with the last one
selected are selected; at least one is, and all are where nothing varies, so that agreement survives. Weights
that differ multiply d_i in the election, and a_i.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from coldfusion.dtypes import Array, Float64
from coldfusion.errors import ConfigError
from coldfusion.exact.scratch import scratch, zeroed
from coldfusion.exact.sums import ExactSum, exact_sum, magnitude_sum
from coldfusion.fusers.family import Facts, Float32, Fuser, Ranking, Tile
from coldfusion.fusers.linear import total_of
from coldfusion.fusers.sparse import on_grid, rounded


@dataclass(frozen=True)
class Sce:
    """Options of SCE."""

    select_topk: float = 1.0  # share of the positions that vary which is fused; the others stay the base's

    def __post_init__(self) -> None:
        if not 0 <= self.select_topk <= 1:
            raise ConfigError(f"select_topk {self.select_topk} is not within 0 and 1")

    @property
    def selects(self) -> bool:
        return 0 < self.select_topk < 1


@dataclass(frozen=True, slots=True)
class ScePlan:
    """How one tensor is fused."""

    threshold: float | None  # positions whose deviation is below it are left out; None: no position is
    votes: Float64  # (n,) the weights that were given
    weights: Float64  # (n,) w_i a_i, on a grid on which n of them sum exactly


def ranking(options: Sce) -> Ranking | None:
    """The deviation of the last position that is selected: of rank max(1, int(select_topk nonzero))."""
    if not options.selects:
        return None
    return Ranking(deviation, lambda _, nonzero: (max(1, int(options.select_topk * nonzero)),))


def deviation(deltas: Float32) -> Float32:
    """Standard deviation of each position over n deltas, (n, t) -> (1, t), whatever the order of rows.

    It ranks like the variance, and does not leave fp32's range where the deltas do not. The squares of one
    position are rounded to a grid 40 bits below the largest of them, on which they sum exactly.
    """
    n, size = deltas.shape
    mean = exact_sum(deltas) / n
    apart, largest = scratch("apart", size, np.float64), zeroed("largest", size, np.float64)
    for row in deltas:
        np.abs(np.subtract(row, mean, out=apart), out=apart)
        np.maximum(largest, apart, out=largest)
    shift = np.ldexp(1.5, np.frexp(np.square(largest))[1] + (52 - 40))
    total = np.zeros(size)
    for row in deltas:
        np.square(np.subtract(row, mean, out=apart), out=apart)
        apart += shift
        apart -= shift
        total += apart
    total /= n
    return np.sqrt(total)[None].astype(deltas.dtype)


def plan(facts: Facts, weights: Float64, options: Sce) -> ScePlan:
    """a_i from the norms of the deltas; where positions are selected, `refine` replaces them."""
    total_of(weights)
    votes, _ = on_grid(weights)
    chosen = with_norms(ScePlan(None, votes, votes), np.diagonal(facts.gram))
    if options.select_topk == 0:
        return replace(chosen, threshold=np.inf)
    return replace(chosen, threshold=float(facts.ranked[0, 0])) if facts.ranked.size else chosen


def with_norms(plan: ScePlan, squares: Float64) -> ScePlan:
    """The plan with weights in proportion to w_i * squares[i], (n,) sums over what was selected."""
    found = plan.votes * [rounded(square) for square in squares.tolist()]
    return replace(plan, weights=on_grid(found)[0])


def tally(tile: Tile, plan: ScePlan) -> Float64:
    """(n,): sums of the squares of what is selected."""
    return np.array([magnitude_sum(np.square(row, dtype=np.float64)) for row in selected(tile.deltas, plan)])


def selected(deltas: Array, plan: ScePlan) -> Array:
    """The deltas, with zeros at positions that are left out."""
    return deltas if plan.threshold is None else deltas * (deviation(deltas)[0] >= plan.threshold)


def apply(tile: Tile, plan: ScePlan) -> Float64:
    """The fused delta of a tile, (t,), fp64."""
    deltas = selected(tile.deltas, plan)
    uniform = (plan.votes == 1).all()
    sign = np.where(exact_sum(deltas if uniform else deltas * plan.votes[:, None]) >= 0, 1, -1)
    sign = sign.astype(deltas.dtype)
    total, divisor = ExactSum.zeros(deltas.shape[1]), np.zeros(deltas.shape[1])
    for row, vote, weight in zip(deltas, np.sign(plan.votes), plan.weights, strict=True):
        agreeing = np.maximum(row * sign * vote.astype(deltas.dtype), 0)
        total.add(agreeing * abs(weight))
        divisor += (agreeing > 0) * weight
    return total.total() * sign / np.where(divisor == 0, 1.0, divisor)


SCE = Fuser(
    name="sce",
    options=Sce,
    plan=plan,
    apply=apply,
    needs=frozenset({"gram"}),
    ranking=ranking,
    tally=tally,
    tallies=lambda options: bool(options.selects),
    refine=with_norms,
    summary="select where deltas differ, weigh by their energy, average what agrees with the elected sign",
)
