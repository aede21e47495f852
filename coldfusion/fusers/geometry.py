"""Weighted sums of deltas whose coefficients follow from angles and norms within one tensor.

No rule here opens a delta to decide: the n x n inner products of the tensor say it all. Small sums go through
math.fsum, so that the order of the contributions does not show; what comes out of sines is rounded, so that
the machine does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from coldfusion.dtypes import Float64
from coldfusion.errors import ConfigError
from coldfusion.fusers.family import Coefficients, Facts, Fuser
from coldfusion.fusers.linear import NoOptions, total_of

_COLINEAR = 0.9995  # the cosine from which on slerp is a straight line, as in mergekit


@dataclass(frozen=True)
class Karcher:
    """Options of the Karcher mean; the defaults are mergekit's."""

    max_iter: int = 10
    tol: float = 1e-5  # in radians. A delta whose norm is below tol times the largest has no direction

    def __post_init__(self) -> None:
        if not (self.max_iter >= 0 and 0 < self.tol < 1):
            raise ConfigError(f"max_iter {self.max_iter} is below 0, or tol {self.tol} not between 0 and 1")


@dataclass(frozen=True)
class Slerp:
    """Options of slerp."""

    t: float = 0.5  # 0 is the first delta in the order of their keys, 1 the second

    def __post_init__(self) -> None:
        if not 0 <= self.t <= 1:
            raise ConfigError(f"t {self.t} is not within 0 and 1")


def model_stock(facts: Facts, weights: Float64, options: NoOptions) -> Coefficients:
    """t * weighted mean, t = n c / (1 + (n - 1) c), c the mean pairwise cosine. Jang et al. 2024.

    Per tensor. Three differences to mergekit: t is kept within 0 and 1, where mergekit steps far in the wrong
    direction when deltas oppose each other; cosines have no absolute term below the line, which there makes t
    vanish for small tensors; and the mean is weighted. One delta alone is taken as it is, and a cosine with a
    delta of zeros counts as 0.
    """
    del options
    n = len(weights)
    pairs = np.triu_indices(n, 1)
    c = math.fsum(cosines(facts.gram)[pairs]) / len(pairs[0]) if n > 1 else 1.0
    t = min(n * c / (1 + (n - 1) * c), 1.0) if c > 0 else 0.0
    return Coefficients(weights, divisor=total_of(weights), factor=t)


def karcher(facts: Facts, weights: Float64, options: Karcher) -> Coefficients:
    """The mean norm times the Riemannian mean of the directions d_i / |d_i| on the sphere, both weighted.

    Per tensor; Karcher 1977, by the steps of mergekit's `karcher`, which takes models in the place of deltas
    and equal weights. Every step stays in the span of the deltas, so it is one on coefficients. Differences:
    directions that cancel have no mean, and the result is 0 instead of the first of them; the norm below
    which a delta has no direction is relative. Raises ConfigError for a negative weight.
    """
    shares = shares_of(weights, "karcher")
    norms = np.sqrt(np.diagonal(facts.gram))
    pointing = norms > options.tol * norms.max()
    direction = _mean_direction(cosines(facts.gram), np.where(pointing, shares, 0.0), options)
    length = math.fsum(shares * norms)
    numerators = np.divide(direction * length, norms, out=np.zeros_like(norms), where=pointing)
    return Coefficients(settled(numerators))


def slerp(facts: Facts, weights: Float64, options: Slerp) -> Coefficients:
    """(sin((1 - t) a) d_1 + sin(t a) d_2) / sin a, a the angle between two deltas. Shoemake 1985.

    Per tensor; weights are ignored. As in mergekit the line (1 - t) d_1 + t d_2 where |cos a| > 0.9995; also
    where one delta is zeros and has no direction, for which mergekit takes a right angle.
    Raises ConfigError unless there are two deltas.
    """
    if len(weights) != 2:
        raise ConfigError(f"slerp takes exactly 2 deltas, there are {len(weights)}: karcher takes any number")
    t, cosine = options.t, float(cosines(facts.gram)[0, 1])
    if abs(cosine) > _COLINEAR or not np.diagonal(facts.gram).all():
        return Coefficients(np.array([1 - t, t]))
    angle = math.acos(cosine)
    parts = [math.sin((1 - t) * angle), math.sin(t * angle)]
    return Coefficients(settled(np.array(parts) / math.sin(angle)))


def cosines(gram: Float64) -> Float64:
    """(n, n) cosines between deltas; 0 with one of zeros."""
    squares = np.diagonal(gram)
    products = np.sqrt(squares[:, None] * squares)  # a square's root is exact: equal deltas have cosine 1
    return np.clip(np.divide(gram, products, out=np.zeros_like(gram), where=products > 0), -1.0, 1.0)


def settled(values: Float64) -> Float64:
    """Rounded to 40 bits below the largest, where the last bits of the machine's sines do not show."""
    grid = math.ldexp(1.0, math.frexp(float(np.abs(values).max()))[1] - 40)
    return np.rint(values / grid) * grid


def shares_of(weights: Float64, rule: str) -> Float64:
    """The weights as shares of 1. Raises ConfigError for a negative one, or where they sum to 0."""
    if weights.min() < 0:
        raise ConfigError(f"weight {weights.min():g} is below 0, which {rule} has no meaning for")
    return weights / total_of(weights)


def times(gram: Float64, coefficients: Float64) -> Float64:
    """The product of a matrix (n, n) and a vector (n,), every sum exact: no order shows."""
    return np.array([math.fsum(row) for row in (gram * coefficients).tolist()])


def _mean_direction(cosine: Float64, shares: Float64, options: Karcher) -> Float64:
    """(n,) coefficients of the unit vectors, of shares >= 0, that give their Karcher mean; 0 without one."""
    pointing = math.fsum(shares)
    length = _length(shares, cosine)
    if not length > options.tol * pointing:
        return np.zeros_like(shares)
    mean, shares = shares / length, shares / pointing
    for _ in range(options.max_iter):
        dots = np.clip(times(cosine, mean), -1.0, 1.0)
        pulls = shares * [_stretch(dot, options.tol) for dot in dots.tolist()]
        tangent = pulls - math.fsum(pulls * dots) * mean
        angle = _length(tangent, cosine)
        if angle < options.tol:
            break
        moved = math.cos(angle) * mean + math.sin(angle) / angle * tangent
        mean = settled(moved / _length(moved, cosine))
    return mean


def _stretch(dot: float, tol: float) -> float:
    """a / sin a for the angle a = acos(dot); 0 where the two directions are equal or opposite."""
    angle = math.acos(dot)
    return angle / math.sin(angle) if tol <= angle <= math.pi - tol else 0.0


def _length(coefficients: Float64, gram: Float64) -> float:
    return math.sqrt(max(math.fsum(coefficients * times(gram, coefficients)), 0.0))


GEOMETRY = (
    Fuser(
        name="model_stock",
        options=NoOptions,
        plan=model_stock,
        needs=frozenset({"gram"}),
        summary="the mean, shortened the more the deltas disagree",
    ),
    Fuser(
        name="karcher",
        options=Karcher,
        plan=karcher,
        needs=frozenset({"gram"}),
        summary="the mean direction on the sphere, at the mean norm",
    ),
    Fuser(
        name="slerp",
        options=Slerp,
        plan=slerp,
        needs=frozenset({"gram"}),
        summary="the great circle between two deltas; weights are ignored",
    ),
)
