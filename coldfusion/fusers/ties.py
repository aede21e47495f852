"""TIES: trim every delta to its largest elements, elect a sign per coordinate, average what agrees with it.

Yadav et al. 2023, "TIES-Merging". The paper trims over the whole model (`scope` "model"), mergekit per
tensor ("tensor", the default here). At the threshold all elements of that magnitude are kept, where mergekit
keeps as many as fit: nothing then depends on an order. A positive density keeps at least one element.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from coldfusion.dtypes import Float64
from coldfusion.errors import ConfigError
from coldfusion.fusers.family import Facts, Ranking
from coldfusion.fusers.masks import Band, Mask, everything, nothing
from coldfusion.fusers.sparse import Rescale, SparsePlan, check, sparse_fuser, sparse_plan


@dataclass(frozen=True)
class Ties:
    """Options of TIES."""

    density: float = 0.2  # share of the elements that is kept; <= 0: none, >= 1: all
    scale: float = 1.0  # lambda
    normalize: bool = True  # divide by the weights that agree
    rescale: Rescale = "none"  # "l1": as mergekit's `rescale: true`; "expected": 1 / density
    scope: Literal["tensor", "model"] = "tensor"  # over what the largest elements are taken

    def __post_init__(self) -> None:
        check(self)
        if self.scope not in ("tensor", "model"):
            raise ConfigError(f"scope {self.scope!r} is not one of tensor, model")


def ranking(options: Ties) -> Ranking | None:
    """The magnitude of the last element that is kept, by contribution: at rank max(1, int(density n))."""
    if not 0 < options.density < 1:
        return None
    return Ranking(np.abs, lambda size, _: (max(1, int(options.density * size)),), options.scope)


def plan(facts: Facts, weights: Float64, options: Ties) -> SparsePlan:
    """fused = scale * sum_i w_i s_i m_i / sum_i w_i m_i, m_i: where w_i s_i has the elected sign."""
    thinned = options.rescale == "expected" and 0 < options.density < 1
    boost = 1 / options.density if thinned else 1.0
    mask = trimming(facts, len(weights), options.density)
    return sparse_plan(mask, weights, options, elect=True, boost=boost)


def trimming(facts: Facts, n: int, density: float) -> Mask:
    """What keeps the magnitudes from the ranked one upwards."""
    if density <= 0:
        return nothing(n)
    if density >= 1 or not facts.ranked.size:
        return everything(n)
    return Band(facts.ranked[:, 0], np.full(n, np.inf, facts.ranked.dtype))


TIES = sparse_fuser(
    name="ties",
    options=Ties,
    plan=plan,
    ranking=ranking,
    summary="trim to the largest elements, elect signs, average what agrees",
)
