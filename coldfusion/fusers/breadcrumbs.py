"""Model Breadcrumbs: drop the largest elements of a delta and the many small ones, sum what is in between.

Davari and Belilovsky 2023, "Model Breadcrumbs". As in mergekit the largest int(gamma n) elements go and the
next int(density n) stay; where there are fewer, fewer of the largest go. Elements of a magnitude of which one
stays all stay, and at least one stays: mergekit keeps as many as fit, and nothing of a tensor smaller than
1 / density.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coldfusion.dtypes import Float64
from coldfusion.errors import ConfigError
from coldfusion.fusers.family import Facts, Ranking
from coldfusion.fusers.masks import Band, Mask, everything, nothing
from coldfusion.fusers.sparse import Rescale, SparsePlan, check, sparse_fuser, sparse_plan


@dataclass(frozen=True)
class Breadcrumbs:
    """Options of Model Breadcrumbs."""

    density: float = 0.2  # share of the elements that is kept; <= 0: none, >= 1: all
    gamma: float = 0.01  # share of the elements that is dropped because they are the largest
    scale: float = 1.0  # lambda
    normalize: bool = False  # divide by the sum of the weights; with an election, of those that agree
    rescale: Rescale = "none"

    def __post_init__(self) -> None:
        check(self)
        if not 0 <= self.gamma <= 1:
            raise ConfigError(f"gamma {self.gamma} is not within 0 and 1")


def ranking(options: Breadcrumbs) -> Ranking | None:
    """The magnitudes of the first and of the last element that is kept, by contribution."""
    if not 0 < options.density < 1:
        return None

    def ranks(size: int, nonzero: int) -> tuple[int, int]:
        del nonzero
        kept = max(1, int(options.density * size))
        last = min(size, int(options.gamma * size) + kept)
        return last - kept + 1, last

    return Ranking(np.abs, ranks)


def plan_linear(facts: Facts, weights: Float64, options: Breadcrumbs) -> SparsePlan:
    """fused = scale * sum_i w_i s_i."""
    return _plan(facts, weights, options, elect=False)


def plan_ties(facts: Facts, weights: Float64, options: Breadcrumbs) -> SparsePlan:
    """fused = scale * sum_i w_i s_i m_i, m_i: where w_i s_i has the elected sign."""
    return _plan(facts, weights, options, elect=True)


def _plan(facts: Facts, weights: Float64, options: Breadcrumbs, *, elect: bool) -> SparsePlan:
    density, n = options.density, len(weights)
    if not 0 < density < 1 or not facts.ranked.size:
        mask: Mask = nothing(n) if density <= 0 else everything(n)
        return sparse_plan(mask, weights, options, elect=elect)
    mask = Band(low=facts.ranked[:, 1], high=facts.ranked[:, 0])
    boost = 1 / density if options.rescale == "expected" else 1.0
    return sparse_plan(mask, weights, options, elect=elect, boost=boost)


BREADCRUMBS = tuple(
    sparse_fuser(
        name=name,
        options=Breadcrumbs,
        plan=plan,
        ranking=ranking,
        summary=summary,
    )
    for name, plan, summary in (
        ("breadcrumbs", plan_linear, "drop the largest and the many small elements, sum"),
        ("breadcrumbs_ties", plan_ties, "the same, with an election of signs"),
    )
)
