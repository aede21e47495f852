"""Combining a cohort's deltas into one. A fuser is a pure function of one tensor's stacked deltas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from coldfusion.dtypes import Float64
from coldfusion.errors import ConfigError

Fuser = Callable[[Float64, Float64], Float64]
"""(deltas (n, *shape), weights (n,) of sum above 0) -> fused delta (*shape). Changes no input."""


def mean(deltas: Float64, weights: Float64) -> Float64:
    """Weighted mean, sum_i w_i d_i / sum_i w_i. Equal weights are ColD Fusion: Don-Yehiya et al. 2023.

    Summed one contribution after another, element by element, so that the bytes do not depend on how a tensor
    is cut into tiles. (A matrix product would be free to change its order of summation.)
    """
    total = np.zeros(deltas.shape[1:])
    for delta, weight in zip(deltas, weights, strict=True):
        total += weight * delta
    fused: Float64 = total / weights.sum()
    return fused


FUSERS: dict[str, Fuser] = {"mean": mean}


def fuser_named(name: str) -> Fuser:
    """The fuser called `name` in a policy."""
    if name not in FUSERS:
        raise ConfigError(f"unknown fuser {name!r}; known: {', '.join(FUSERS)}")
    return FUSERS[name]
