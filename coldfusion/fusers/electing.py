"""Per coordinate, the sign that most of the mass has is elected, and only what agrees with it is added up.

    elected sign   + where sum_i v_i >= 0, else -      v_i = w_i s_i: what is kept of a delta, weighted
    elected sum    sum of the v_i of that sign
    divisor        sum of the w_i whose v_i have that sign; zeros never have it

Yadav et al. 2023 (TIES), in mergekit's convention: weights multiply before the election, and a sum of exactly
0 elects +. With S = sum v_i and A = sum |v_i|, the elected sum is (A + |S|) / 2 with the sign of S. This
takes one pass over the contributions, row by row; nothing cancels; and S and A do not show their order.
"""

from __future__ import annotations

import numpy as np

from coldfusion.dtypes import Array, Float64
from coldfusion.exact.scratch import scratch, zeroed
from coldfusion.exact.sums import ExactSum, PlainSum

Sum = ExactSum | PlainSum


def running_sum(use: str, size: int, *, plain: bool) -> Sum:
    """A sum to add (size,) arrays to: in plain fp64 where that is proved to be exact."""
    return PlainSum(zeroed(use, size, np.float64)) if plain else ExactSum.zeros(size)


class Election:
    """The votes on a tile of `size` coordinates. A thread holds one at a time: its memory is scratch."""

    def __init__(self, size: int, *, plain: bool, weights: Float64 | None) -> None:
        """plain: the votes sum exactly in plain fp64. weights: (n,) to divide by, on a grid, or None."""
        self._weights = weights
        self._signed = running_sum("signed", size, plain=plain)
        self._unsigned = running_sum("unsigned", size, plain=plain)
        self._counted = weights is None or bool((weights == 1).all())  # the divisor is a small integer
        kind = np.min_scalar_type(0 if weights is None else len(weights)) if self._counted else np.float64
        self._for, self._against = zeroed("for", size, kind), zeroed("against", size, kind)
        self._votes, self._chosen = scratch("votes", size, np.float64), scratch("chosen", size, np.bool_)

    def add(self, i: int, kept: Array, multiplier: float) -> None:
        """Contribution i votes with multiplier * kept, (size,)."""
        votes = self._votes
        if multiplier == 1:
            votes[:] = kept
        else:
            np.multiply(kept, multiplier, out=votes, dtype=np.float64)
        self._signed.add(votes)
        self._unsigned.add(np.abs(votes, out=votes))
        if self._weights is not None and multiplier:
            positive, negative = (np.greater, np.less) if multiplier > 0 else (np.less, np.greater)
            self._count(self._for, positive(kept, 0, out=self._chosen), self._weights[i])
            self._count(self._against, negative(kept, 0, out=self._chosen), self._weights[i])

    def _count(self, counts: Array, chosen: Array, weight: float) -> None:
        np.add(counts, chosen.view(np.uint8) if self._counted else chosen * weight, out=counts)

    def elected(self, factor: float = 1.0) -> Float64:
        """factor times the elected sums; divided where there are weights to divide by (0 counts as 1)."""
        signed = self._signed.total()
        sums = np.abs(signed)
        sums += self._unsigned.total()
        np.copysign(sums, signed, out=sums)
        sums *= factor / 2
        if self._weights is not None:
            # `np.where` takes eight times as long. Differences are exact here, or wrap around and back.
            divisor = self._for - self._against
            divisor *= signed >= 0
            divisor += self._against
            divisor += divisor == 0
            sums /= divisor
        return sums
