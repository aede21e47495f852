"""DARE: drop elements at random and rescale the rest; then sum, or elect signs as TIES does.

Yu et al. 2024, "Language Models are Super Mario": s = m * d / density, m ~ Bernoulli(density), so that the
expected value of s is d ("expected", the default). mergekit rescales to the L1 norm of d instead ("l1"). The
masks are ours: see `sampling`.
"""

from __future__ import annotations

from dataclasses import dataclass

from coldfusion.dtypes import Float64
from coldfusion.fusers.family import Facts
from coldfusion.fusers.masks import Drawn, Mask, everything, nothing
from coldfusion.fusers.sparse import Rescale, SparsePlan, check, sparse_fuser, sparse_plan


@dataclass(frozen=True)
class Dare:
    """Options of DARE."""

    density: float = 0.2  # probability to be kept; <= 0: nothing is, >= 1: all is
    scale: float = 1.0  # lambda
    normalize: bool = False  # divide by the sum of the weights; with an election, of those that agree
    rescale: Rescale = "expected"

    def __post_init__(self) -> None:
        check(self)


def plan_linear(facts: Facts, weights: Float64, options: Dare) -> SparsePlan:
    """fused = scale * sum_i w_i s_i."""
    del facts
    return _plan(weights, options, elect=False)


def plan_ties(facts: Facts, weights: Float64, options: Dare) -> SparsePlan:
    """fused = scale * sum_i w_i s_i m_i, m_i: where w_i s_i has the elected sign."""
    del facts
    return _plan(weights, options, elect=True)


def _plan(weights: Float64, options: Dare, *, elect: bool) -> SparsePlan:
    density, n = options.density, len(weights)
    if 0 < density < 1:
        mask: Mask = Drawn(density)
        boost = 1 / density if options.rescale == "expected" else 1.0
        return sparse_plan(mask, weights, options, elect=elect, boost=boost)
    mask = nothing(n) if density <= 0 else everything(n)
    return sparse_plan(mask, weights, options, elect=elect)


DARE = tuple(
    sparse_fuser(
        name=name,
        options=Dare,
        plan=plan,
        summary=summary,
    )
    for name, plan, summary in (
        ("dare_linear", plan_linear, "drop elements at random, rescale, sum"),
        ("dare_ties", plan_ties, "drop elements at random, rescale, elect signs, sum what agrees"),
    )
)
