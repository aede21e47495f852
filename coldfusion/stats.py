"""What one pass over a round's deltas finds out, so that no screen and no plan ever opens a file."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from coldfusion.dtypes import Array, Float64
from coldfusion.errors import TensorMismatch


@dataclass(frozen=True, slots=True)
class RoundStats:
    """One streaming pass over n deltas, in the order of `keys`. One that is not finite counts as zeros."""

    keys: tuple[str, ...]  # the contributors' names
    finite: Array  # (n,) bool
    peaks: Float64  # (n,) largest magnitude
    gram: Float64  # (n, n) inner products
    tensors: dict[str, RoundStats] = field(default_factory=dict)  # of each tensor, where it was asked for
    odd: dict[str, str] = field(default_factory=dict)  # key of what is not finite -> first tensor where so

    @property
    def norms(self) -> Float64:
        """(n,) L2 norm of the whole delta, in parameter units; NaN where it is not finite."""
        return np.where(self.finite, np.sqrt(np.diagonal(self.gram)), np.nan)

    def of(self, keys: tuple[str, ...]) -> RoundStats:
        """Of some of the deltas."""
        at = [self.keys.index(key) for key in keys]
        tensors = {name: one.of(keys) for name, one in self.tensors.items()}
        odd = {key: name for key, name in self.odd.items() if key in keys}
        gram = self.gram[np.ix_(at, at)]
        return RoundStats(keys, self.finite[at], self.peaks[at], gram, tensors, odd)

    def require_finite(self) -> None:
        """Raise TensorMismatch naming an input that is not finite, and the tensor."""
        for key, name in self.odd.items():
            raise TensorMismatch(f"{key}: {name} holds NaN or Inf")


def no_deltas(keys: tuple[str, ...]) -> RoundStats:
    """What is known of n deltas of no element."""
    n = len(keys)
    return RoundStats(keys, np.ones(n, bool), np.zeros(n), np.zeros((n, n)))
