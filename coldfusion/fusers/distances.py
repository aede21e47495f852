"""Weighted sums of deltas whose coefficients follow from distances over the whole body: the robust rules.

A contribution is judged as a whole, so every tensor gets the same coefficients. All distances are read off
the n x n Gram matrix of the body: no pass over the deltas, and no copy of them, is made to decide. Distances
of nearly equal deltas are right to about a millionth of the norms; equal deltas are at 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from coldfusion.dtypes import Float64
from coldfusion.errors import ConfigError
from coldfusion.fusers.family import Coefficients, Facts, Fuser
from coldfusion.fusers.geometry import shares_of, times
from coldfusion.fusers.linear import total_of


@dataclass(frozen=True)
class Krum:
    """Options of Krum."""

    f: int = 0  # how many contributions may be hostile; at least 2 f + 3 are needed

    def __post_init__(self) -> None:
        if self.f < 0:
            raise ConfigError(f"f {self.f} is below 0")


@dataclass(frozen=True)
class MultiKrum(Krum):
    """Options of Multi-Krum. With f = 0 and no m it is the weighted mean."""

    m: int | None = None  # how many deltas are averaged; None for n - f, all that need not be hostile


@dataclass(frozen=True)
class GeometricMedian:
    """Options of the geometric median."""

    iterations: int = 100
    eps: float = 1e-6  # distances count as at least this, relative to the mean distance to the mean

    def __post_init__(self) -> None:
        if not self.eps > 0:
            raise ConfigError(f"eps {self.eps} is not above 0")


@dataclass(frozen=True)
class NormClip:
    """Options of the norm-clipped mean."""

    max_norm: float | None = None  # over the whole body, in parameter units; None for the median of the norms

    def __post_init__(self) -> None:
        if self.max_norm is not None and not self.max_norm > 0:
            raise ConfigError(f"max_norm {self.max_norm} is not above 0")


def krum(gram: Float64, weights: Float64, options: Krum) -> Coefficients:
    """The one delta that is closest to its n - f - 2 nearest others. Blanchard et al. 2017.

    Squared distances over the whole body; weights are ignored; of equal scores the first key's is taken.
    Raises ConfigError for fewer than 2 f + 3 deltas.
    """
    chosen = np.zeros(len(weights))
    chosen[_by_krum_score(gram, options.f)[0]] = 1.0
    return Coefficients(chosen)


def multi_krum(gram: Float64, weights: Float64, options: MultiKrum) -> Coefficients:
    """The weighted mean of the m deltas with the best Krum scores. Blanchard et al. 2017.

    Selects as Flower's aggregate_krum with num_malicious = f and to_keep = m, and weighs like it.
    Raises ConfigError for fewer than 2 f + 3 deltas, or where m is not within 1 and n.
    """
    n = len(weights)
    ranked = _by_krum_score(gram, options.f)
    m = n - options.f if options.m is None else options.m
    if not 1 <= m <= n:
        raise ConfigError(f"m {m} is not within 1 and {n}, the number of deltas")
    chosen = np.zeros(n)
    chosen[ranked[:m]] = weights[ranked[:m]]
    return Coefficients(chosen, divisor=total_of(chosen))


def geometric_median(gram: Float64, weights: Float64, options: GeometricMedian) -> Coefficients:
    """argmin_v sum_i w_i |v - d_i| over the whole body, by smoothed Weiszfeld steps from the weighted mean.

    v <- sum_i b_i d_i / sum_i b_i, b_i = w_i / max(nu, |v - d_i|): Pillutla et al. 2022. Their nu is
    in parameter units; here it is eps times the mean distance to the mean, so that no scale is hidden.
    Raises ConfigError for a negative weight.
    """
    shares = shares_of(weights, "geometric_median")
    distances = _distances_from(shares, gram)
    least = options.eps * math.fsum(shares * distances)
    current = shares
    for _ in range(options.iterations if least else 0):
        pulls = shares / np.maximum(distances, least)
        previous, current = current, pulls / math.fsum(pulls)
        if np.abs(current - previous).max() < 1e-12:
            break
        distances = _distances_from(current, gram)
    numerators = current / current.max()  # equal coefficients become 1 and make an exact sum
    return Coefficients(numerators, divisor=math.fsum(numerators))


def norm_clip(gram: Float64, weights: Float64, options: NormClip) -> Coefficients:
    """sum_i w_i min(1, c / |d_i|) d_i / sum_i w_i, norms over the whole body. Sun et al. 2019.

    The rule that keeps weights and is robust: nobody moves the base further than his weight times c. The
    median of the norms as c is ours: no length has to be known, and half of the deltas stay as they are.
    """
    norms = np.sqrt(np.diagonal(gram))
    ordered = np.sort(norms)
    middle = float(ordered[(len(norms) - 1) // 2] + ordered[len(norms) // 2]) / 2
    bound = middle if options.max_norm is None else options.max_norm
    scales = np.divide(bound, norms, out=np.ones_like(norms), where=norms > bound)
    return Coefficients(weights * scales, divisor=total_of(weights))


def _distances_from(coefficients: Float64, gram: Float64) -> Float64:
    """(n,) distances of the deltas from the combination of them."""
    along = times(gram, coefficients)
    square = math.fsum(coefficients * along)
    return np.sqrt(np.maximum(square - 2 * along + np.diagonal(gram), 0.0))


def _by_krum_score(gram: Float64, f: int) -> list[int]:
    """Contributions by the sum of squared distances to their n - f - 2 nearest others, smallest first."""
    n = len(gram)
    if n < 2 * f + 3:
        raise ConfigError(f"Krum with f = {f} needs at least {2 * f + 3} deltas, there are {n}")
    squares = np.diagonal(gram)
    distances = np.maximum(squares[:, None] + squares - 2 * gram, 0.0)
    scores = []
    for i, row in enumerate(distances.tolist()):
        others = sorted(row[:i] + row[i + 1 :])
        scores.append(math.fsum(others[: n - f - 2]))
    return sorted(range(n), key=lambda i: (scores[i], i))


def _of_the_body(rule: Callable[[Float64, Float64, Any], Coefficients]) -> Callable[..., Coefficients]:
    """The plan of a rule that looks at the whole body: the same for every tensor, so made once."""

    @lru_cache(maxsize=4)
    def remembered(gram: bytes, weights: bytes, options: Any) -> Coefficients:
        n = len(weights) // 8
        return rule(np.frombuffer(gram).reshape(n, n), np.frombuffer(weights), options)

    def plan(facts: Facts, weights: Float64, options: Any) -> Coefficients:
        return remembered(facts.model_gram.tobytes(), weights.astype(np.float64).tobytes(), options)

    return plan


DISTANCES = (
    Fuser(
        name="krum",
        options=Krum,
        plan=_of_the_body(krum),
        needs=frozenset({"model_gram"}),
        summary="the delta that is closest to its neighbours; weights are ignored",
    ),
    Fuser(
        name="multi_krum",
        options=MultiKrum,
        plan=_of_the_body(multi_krum),
        needs=frozenset({"model_gram"}),
        summary="weighted mean of the deltas that are closest to their neighbours",
    ),
    Fuser(
        name="geometric_median",
        options=GeometricMedian,
        plan=_of_the_body(geometric_median),
        needs=frozenset({"model_gram"}),
        summary="the point with the least sum of distances to the deltas",
    ),
    Fuser(
        name="norm_clip",
        options=NormClip,
        plan=_of_the_body(norm_clip),
        needs=frozenset({"model_gram"}),
        summary="weighted mean of the deltas, each shortened to the median norm",
    ),
)
