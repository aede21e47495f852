"""Attribution: what every contribution was worth to the base that it went into, on held-out tasks.

Exactly: the base is scored with and without it, paired per example, on validation splits (leave-one-out).
At first order: without contribution c the loss on these splits changes by g . (base without c - base), where
g is the loss's gradient at the base, heads fixed. For a mean with shares p that is

    worth_c = outer_lr p_c / (1 - p_c) (g . m - g . d_c)    m = sum_i p_i d_i

nats of loss that it took away; one gradient and one pass over the deltas for any number of contributions
(influence without curvature, cf. Koh and Liang 2017; as inner products of gradients, cf. Pruthi et al. 2020).
For other rules it says what a contribution would be worth to the mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coldfusion.candidates import Candidates
from coldfusion.codecs import codec_named
from coldfusion.dtypes import Float64
from coldfusion.engine.crews import Threads
from coldfusion.engine.measuring import measure_cohort
from coldfusion.engine.sources import Cohort, DeltaSource
from coldfusion.errors import ConfigError
from coldfusion.gating import Candidate
from coldfusion.records import Fusing, Gain, TaskGain, Worth
from coldfusion.tensorfile import TensorFile

GRADIENT = "(gradient)"
"""The key of the gradient among the deltas. No contributor can be called so."""
DIGITS = 4
"""Of an estimate. The rest of a sum of millions of products depends on the machine that took the gradient."""

AT_ONCE = 8
"""Deltas that are multiplied with the gradient in one pass, and with one another: of a thousand, a thousand
products are wanted, not half a million.
"""


@dataclass(frozen=True, slots=True)
class Compared:
    """A base beside the same one without a contribution."""

    gain: Gain
    tasks: tuple[TaskGain, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessor:
    """What finds out the worth of a contribution, on the validation splits of held-out tasks."""

    # (a base, the same without one contribution), checkpoint directories -> how they compare
    compare: Callable[[Path, Path], Compared]
    # (a base, file to write): the gradient of the mean loss, fp32, by the names of the base's tensors
    gradient: Callable[[Path, Path], None]


def attribute(candidate: Candidate, candidates: Candidates, assessor: Assessor) -> tuple[Worth, ...]:
    """The worth of every contribution of what is published, by contributor; as far as the policy asks."""
    policy, n = candidates.state.policy, len(candidate.cohort)
    exact = _left_out(candidate, candidates, assessor) if n <= policy.leave_one_out else {}
    estimates = _estimates(candidate, candidates, assessor) if policy.estimates else {}
    names = sorted(exact.keys() | estimates.keys())
    return tuple(_worth(name, exact.get(name), estimates.get(name)) for name in names)


def first_order(products: Float64, shares: Float64, rate: float) -> Float64:
    """Nats that each of n contributions took away; see above.

    products: (n,) inner products with the gradient. shares: (n,) of the mean, they sum to 1. One contribution
    alone is compared with the base before it.
    """
    if len(products) == 1:
        return -rate * products
    return rate * shares / (1 - shares) * (shares @ products - products)


def _left_out(candidate: Candidate, candidates: Candidates, assessor: Assessor) -> dict[str, Compared]:
    try:
        return {
            one.manifest.contributor: assessor.compare(candidate.directory, left)
            for one, left in candidates.without_each(candidate)
        }
    except ConfigError:  # the rule cannot work with one less: Krum with just enough, for example
        return {}


def _estimates(candidate: Candidate, candidates: Candidates, assessor: Assessor) -> dict[str, float]:
    rate = _rate(candidate.step.fusing)
    if rate is None:
        return {}
    path = candidates.workdir / "gradient.safetensors"
    assessor.gradient(candidate.directory, path)
    products = _products(path, candidate, candidates)
    weights = np.array(candidate.step.weights)
    found = first_order(np.array(list(products.values())), weights / weights.sum(), rate)
    if not np.isfinite(found).all():  # a gradient is not, where training has left the numbers
        return {}
    return {name: float(f"{value:.{DIGITS}g}") for name, value in zip(products, found, strict=True)}


def _products(path: Path, candidate: Candidate, candidates: Candidates) -> dict[str, float]:
    """Contributor -> the inner product of its delta with the gradient; NaN where that is not finite."""
    products = dict[str, float]()
    with TensorFile(path) as file:
        gradient = DeltaSource(GRADIENT, file, codec_named("float32"))
        for start in range(0, len(candidate.cohort), AT_ONCE):
            some = [candidates.source(c) for c in candidate.cohort[start : start + AT_ONCE]]
            stats = measure_cohort(Cohort(candidates.base, (gradient, *some)), Threads())
            of_gradient = dict(zip(stats.keys, stats.gram[stats.keys.index(GRADIENT)], strict=True))
            products |= {s.key: of_gradient[s.key] if stats.finite.all() else np.nan for s in some}
    return products


def _rate(fusing: Fusing) -> float | None:
    """How far the base goes along a fused delta; None where it is another distance for every parameter."""
    if fusing.outer in ("sgd", "momentum"):
        return fusing.outer_lr
    if fusing.outer == "nesterov":
        return fusing.outer_lr * (1 + float(fusing.outer_options["momentum"] or 0))
    return None


def _worth(name: str, exact: Compared | None, estimate: float | None) -> Worth:
    if exact is None:
        return Worth(contributor=name, estimate=estimate)
    return Worth(contributor=name, gain=exact.gain, tasks=exact.tasks, estimate=estimate)
