"""Weighted sums of deltas with weights that are given: the mean, and task arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from coldfusion.dtypes import Array, Float64
from coldfusion.errors import ConfigError
from coldfusion.exact.sums import exact_sum
from coldfusion.fusers.family import Coefficients, Facts, Fuser


@dataclass(frozen=True)
class NoOptions:
    """Of a rule that has nothing to set."""


@dataclass(frozen=True)
class TaskArithmetic:
    """Options of task arithmetic."""

    scale: float = 1.0  # lambda of Ilharco et al.
    normalize: bool = False  # divide by the sum of the weights
    skill: int = 0  # |D| and
    general: int = 0  # |G| of Merge to Learn, examples or steps: scale is also multiplied by |D| / |G|

    def __post_init__(self) -> None:
        if (self.skill > 0) != (self.general > 0) or self.skill < 0 or self.general < 0:
            sizes = f"skill {self.skill} and general {self.general}"
            raise ConfigError(f"{sizes} make no ratio |D| / |G|: give both above 0, or none")


def mean(facts: Facts, weights: Float64, options: NoOptions) -> Coefficients:
    """Weighted mean, sum_i w_i d_i / sum_i w_i. Equal weights are ColD Fusion: Don-Yehiya et al. 2023."""
    del facts, options
    return Coefficients(weights, divisor=total_of(weights))


def task_arithmetic(facts: Facts, weights: Float64, options: TaskArithmetic) -> Coefficients:
    """scale * sum_i w_i d_i. Ilharco et al. 2023.

    With skill and general set, scale is multiplied by |D| / |G|, what Morrison et al. 2024 (Merge to Learn)
    use where there is no validation set: the sizes of the skill's and of the general model's training.
    """
    del facts
    divisor = total_of(weights) if options.normalize else 1.0
    omega = options.skill / options.general if options.general else 1.0
    return Coefficients(weights, divisor=divisor, factor=options.scale * omega)


def total_of(weights: Float64) -> float:
    """The sum of the weights. Raises ConfigError where a mean with them is not defined."""
    total = math.fsum(weights)
    if not abs(total) > 1e-8 * float(np.abs(weights).max(initial=0.0)):
        raise ConfigError(f"weights sum to {total:g}: a mean with them is not defined")
    return total


def weighted_sum(deltas: Array, coefficients: Coefficients) -> Float64:
    """factor * sum_i numerators[i] d_i / divisor over deltas (n, t), the sum exact."""
    numerators = coefficients.numerators
    first = numerators[0]
    if (numerators == first).all():
        return exact_sum(deltas) * (coefficients.factor * float(first)) / coefficients.divisor
    largest = 2.0 ** np.frexp(np.abs(numerators).max())[1]
    terms = deltas * (numerators / largest)[:, None]
    return exact_sum(terms) * (coefficients.factor * float(largest)) / coefficients.divisor


LINEAR = (
    Fuser(name="mean", options=NoOptions, plan=mean, summary="weighted mean of the deltas: ColD Fusion"),
    Fuser(
        name="task_arithmetic",
        options=TaskArithmetic,
        plan=task_arithmetic,
        summary="scale * weighted sum of the deltas",
    ),
)
