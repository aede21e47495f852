"""Sums that do not depend on their order: every term is taken to one fixed grid, on which sums are exact.

A floating-point sum depends on the order of its terms, so a federation that adds what arrives gives other
bytes every time. Here a term counts as its nearest multiple of 2^-62. Sums of such multiples are kept in two
fp64 limbs, each of which only ever holds exact integers of its own grid: adding is associative. (The idea of
binned sums: Demmel and Nguyen 2015; a fixed grid in place of theirs is what makes a sum subtractable, see
`wholesums`.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from coldfusion.dtypes import Array, Float64
from coldfusion.errors import TensorMismatch
from coldfusion.exact.scratch import scratch

LIMIT = 2.0**16
"""The largest magnitude of a term. Up to 2^14 such terms are summed exactly."""

_HIGH = 1.5 * 2.0 ** (52 - 22)  # adding and subtracting it rounds to a multiple of 2^-22
_LOW = 1.5 * 2.0 ** (52 - 62)  # the same for 2^-62
_PLAIN_SPAN = 30  # binary orders of magnitude that an fp64 sum of fp32 terms spans without rounding
_PIECE = 4096  # magnitudes that are added on one grid


class ExactSum:
    """A running sum of arrays of one shape."""

    def __init__(self, high: Float64, low: Float64) -> None:
        self.high, self.low = high, low  # multiples of 2^-22 and of 2^-62

    @classmethod
    def zeros(cls, shape: int | tuple[int, ...]) -> ExactSum:
        return cls(np.zeros(shape), np.zeros(shape))

    def add(self, terms: Array) -> None:
        """Take an array in. Raises TensorMismatch where a term is above LIMIT."""
        high, low = _limbs(terms)
        self.high += high
        self.low += low

    def total(self) -> Float64:
        """The exact sum, rounded once to fp64."""
        total: Float64 = self.high + self.low
        return total


class PlainSum:
    """A running sum in plain fp64: the exact one where `sums_plainly` has proved it."""

    def __init__(self, total: Float64) -> None:
        self._total = total

    def add(self, terms: Array) -> None:
        """Take an array in."""
        np.add(self._total, terms, out=self._total)

    def total(self) -> Float64:
        """The sum: this array goes on changing where more is added."""
        return self._total


def exact_sum(terms: Array | Sequence[Array]) -> Float64:
    """Sum of n arrays of one shape, (n, *shape) or a list, fp32 or fp64: what `ExactSum` gives, faster."""
    shape = terms.shape[1:] if isinstance(terms, np.ndarray) else terms[0].shape
    narrow = all(term.dtype == np.float32 for term in terms)
    plain = narrow and sums_plainly(len(terms), map(magnitudes, terms))
    running = PlainSum(np.zeros(shape)) if plain else ExactSum.zeros(shape)
    for term in terms:
        running.add(term)
    return running.total()


class CheckedSum:
    """The same sum of n fp32 arrays of `count` elements in plain fp64, wherever that is exact.

    So it is but for numbers some 2^24 times smaller than the largest one: a few in a million. `doubtful` says
    where they are, and `holds` whether everything else is proven.
    """

    def __init__(self, count: int, n: int) -> None:
        self.total: Float64 = scratch("checked sum", count, np.float64)
        self.doubtful: list[int] = []
        self._doubled = scratch("checked", count, np.uint32)
        # Exponents, biased by 127 as in fp32. A sum of n terms needs so many bits above the largest of them.
        self._top, self._bits, self._added, self._low = 0, 1 + max(n - 1, 1).bit_length(), 0, 255

    def add(self, terms: Array) -> None:
        """Take an array in. Raises TensorMismatch where it holds NaN, Inf or a number above LIMIT."""
        doubled = np.left_shift(terms.view(np.uint32), 1, out=self._doubled)  # drops the sign
        self._top = max(self._top, int(doubled.max(initial=0)) >> 24)
        if self._top >= 127 + 16:
            require_summable(terms)
        # What is found later may be larger than what was seen so far: 8 times is allowed for.
        lowest = max(self._top + 3 + self._bits - _PLAIN_SPAN, 127 - 39)
        smallest = int(doubled.min(initial=0xFFFFFFFF))
        if smallest >> 24 < lowest:
            doubled -= 1  # a zero becomes the largest pattern there is
            if (int(doubled.min()) + 1) >> 24 < lowest:
                self.doubtful.extend(np.flatnonzero(doubled < (lowest << 24) - 1).tolist())
        self._low = min(self._low, lowest)
        if self._added:
            np.add(self.total, terms, out=self.total)
        else:
            np.add(terms, 0.0, out=self.total)  # -0 becomes 0, as it does in limbs
        self._added += 1

    @property
    def holds(self) -> bool:
        """Whether the sum is exact but for the doubtful elements."""
        return self._top + self._bits <= self._low + _PLAIN_SPAN


def magnitudes(terms: Array) -> tuple[int, int]:
    """(largest, smallest that is not 0) magnitude of fp32 terms, as doubled bit patterns; (0, 0) for none."""
    doubled = scratch("doubled", terms.size, np.uint32).reshape(terms.shape)  # of a whole tile not kept
    # Doubling drops the sign; what is left sorts like the magnitudes that it stands for.
    np.left_shift(terms.view(np.uint32), 1, out=doubled)
    largest, smallest = int(doubled.max(initial=0)), int(doubled.min(initial=0xFFFFFFFF))
    if smallest == 0 and largest:
        doubled -= 1  # a zero becomes the largest pattern there is
        smallest = int(doubled.min()) + 1
    return largest, smallest


def sums_plainly(n: int, found: Iterable[tuple[int, int]]) -> bool:
    """Whether n fp32 terms of these magnitudes sum without any rounding in fp64, in any order.

    So they do where the lowest bit of the smallest is on the grid, and at most 53 bits below the highest bit
    that the sum can have. A proof for a whole tile costs a fraction of summing it limb by limb.
    """
    pairs = [pair for pair in found if pair[0]]
    if not pairs:
        return True
    top, low = (pair >> 24 for pair in (max(p[0] for p in pairs), min(p[1] for p in pairs)))
    # Exponents are biased by 127, and a pattern's lowest bit is 23 binary places below its highest.
    return top < 127 + 16 and low >= 127 - 39 and top + 1 + max(n - 1, 1).bit_length() <= low + _PLAIN_SPAN


def doubled_pattern(value: float) -> int:
    """The bit pattern of fp32 `value` without its sign, doubled: what `magnitudes` deals in."""
    return int(np.array([value], np.float32).view(np.uint32)[0]) << 1 & 0xFFFFFFFF


def magnitude_sum(values: Array) -> float:
    """Sum of |values|, (t,), fp32 or fp64, in any order of additions the same to the last bit.

    Each piece of 4,096 is rounded to a grid 40 bits below its largest magnitude, where its sum is exact.
    """
    whole = len(values) - len(values) % _PIECE
    sums: list[float] = []
    for pieces in (values[:whole].reshape(-1, _PIECE), values[whole:].reshape(1, -1)):
        if pieces.size:
            found = scratch("magnitudes in fp64", pieces.shape, np.float64)
            np.abs(pieces, out=found)
            shift = np.ldexp(1.5, np.frexp(found.max(axis=1, keepdims=True))[1] + (52 - 40))
            found += shift
            found -= shift
            sums.extend(found.sum(axis=1).tolist())
    return math.fsum(sums)


def require_summable(terms: Array) -> None:
    """Raise TensorMismatch where a term is NaN or above LIMIT."""
    if terms.size and not max(terms.max(), -terms.min()) <= LIMIT:
        largest = np.abs(terms).max()
        raise TensorMismatch(f"holds a value of {largest:.3g}; numbers up to {LIMIT:,.0f} are fused")


def _limbs(terms: Array) -> tuple[Float64, Float64]:
    """The multiples of 2^-22 nearest to the terms, and of 2^-62 nearest to the rest; in scratch."""
    require_summable(terms)
    high = scratch("high limb", terms.shape, np.float64)
    low = scratch("low limb", terms.shape, np.float64)
    np.add(terms, _HIGH, out=high, dtype=np.float64)
    high -= _HIGH
    np.subtract(terms, high, out=low)
    low += _LOW
    low -= _LOW
    return high, low
