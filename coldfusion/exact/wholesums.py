"""Sums of terms that count a whole number of times, kept in integers.

A term counts as its nearest multiple of 2^-62, as in `sums`; a weight of 3 makes it count three times. So
what a contribution adds to a sum depends on that contribution and its weight alone, never on who else is
there, and subtracting it gives the integers from before. Weights are relative, so any that are whole
multiples of one unit will do: 0.5 and 1.5, or numbers of examples.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from coldfusion.dtypes import Array, Float64
from coldfusion.exact.scratch import scratch, zeroed
from coldfusion.exact.sums import require_summable

Int64 = NDArray[np.int64]

MOST = 2**24 - 1
"""The largest sum of the magnitudes of all counts. With terms up to LIMIT, neither limb then overflows."""

_HIGH = np.float64(1.5 * 2.0 ** (52 - 22))  # adding it leaves a multiple of 2^-22 in the lower bits
_LOW = np.float64(1.5 * 2.0 ** (52 - 62))
_HIGH_BITS, _LOW_BITS = _HIGH.view(np.int64), _LOW.view(np.int64)
_BETWEEN = 40  # bits from one limb's unit to the other's


@lru_cache(maxsize=64)
def whole_numbers(weights: tuple[float, ...]) -> tuple[tuple[int, ...], float] | None:
    """(counts, unit) such that weights = unit * counts exactly; None where that takes counts above MOST.

    >>> whole_numbers((1.5, 0.5)), whole_numbers((7.0, 7.0))
    (((3, 1), 0.5), ((1, 1), 7.0))
    """
    if not all(map(math.isfinite, weights)):
        return None
    exact = [Fraction(weight) for weight in weights]
    common = max((fraction.denominator for fraction in exact), default=1)
    numbers = [int(fraction * common) for fraction in exact]
    unit = math.gcd(*numbers) or 1
    if numbers and numbers[0] < 0:  # so that equal weights always count once
        unit = -unit
    counts = tuple(number // unit for number in numbers)
    return (counts, float(Fraction(unit, common))) if sum(map(abs, counts)) <= MOST else None


class WholeSum:
    """A running sum over arrays of t elements, in two limbs: multiples of 2^-22 and of 2^-62, (t,) int64."""

    def __init__(self, high: Int64, low: Int64) -> None:
        self.high, self.low = high, low

    @classmethod
    def zeros(cls, count: int) -> WholeSum:
        """In scratch: a thread holds one at a time."""
        return cls(*zeroed("whole sum", (2, count), np.int64))

    def add(self, terms: Array, times: int) -> None:
        """Count an array (t,), fp32 or fp64, so many times; a negative number takes it out again.

        Raises TensorMismatch where a term is NaN or above LIMIT.
        """
        high, low = limbs_of(terms)
        self.add_limbs(high, low, times)

    def add_limbs(self, high: Int64, low: Int64, times: int) -> None:
        """The same with what `limbs_of` gave, which is overwritten."""
        for limb, total in ((high, self.high), (low, self.low)):
            if times != 1:
                np.multiply(limb, times, out=limb)
            np.add(total, limb, out=total)

    def total(self, unit: int = 1) -> Float64:
        """The exact sum, divided by a unit that divides every count; in scratch.

        Rounded once where it is below 2^31.
        """
        high, low = (self.high, self.low) if unit == 1 else (self.high // unit, self.low // unit)
        total: Float64
        total, rest, integers = scratch("whole total", (3, len(high)), np.float64)
        part = integers.view(np.int64)
        np.right_shift(low, _BETWEEN, out=part)
        np.add(part, high, out=part)
        np.multiply(part, 2.0**-22, out=total)
        np.bitwise_and(low, (1 << _BETWEEN) - 1, out=part)
        np.multiply(part, 2.0**-62, out=rest)
        total += rest
        return total


def limbs_of(terms: Array) -> tuple[Int64, Int64]:
    """Terms as integers: multiples of 2^-22 and of 2^-62, (t,) each, in scratch."""
    require_summable(terms)
    values, high, low = scratch("whole limbs", (3, len(terms)), np.float64)
    values[...] = terms
    np.add(values, _HIGH, out=high)
    np.subtract(high, _HIGH, out=low)
    np.subtract(values, low, out=low)  # what is left, exactly
    np.add(low, _LOW, out=low)
    limbs = high.view(np.int64), low.view(np.int64)
    for limb, bits in zip(limbs, (_HIGH_BITS, _LOW_BITS), strict=True):
        np.subtract(limb, bits, out=limb)
    return limbs
