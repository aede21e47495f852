"""Weighted sums over a cohort, one span at a time and one source after another in the same memory.

A source counts with what it brings: finetuned values are summed as they are, the deltas' sum follows from
theirs, and for a mean the base need not even be read. So a term depends on its source alone, and sums are
exact (see `sums` and `wholesums`): neither order nor company shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from coldfusion.dtypes import LARGEST, STORAGE, Array, Float64, narrow
from coldfusion.engine.sources import BaseSpan, Cohort
from coldfusion.engine.spans import Span
from coldfusion.errors import TensorMismatch
from coldfusion.exact.scratch import scratch, set_aside
from coldfusion.exact.sums import CheckedSum, ExactSum, exact_sum, require_summable
from coldfusion.exact.wholesums import WholeSum, whole_numbers
from coldfusion.fusers.family import Coefficients
from coldfusion.native import kernels

MOST_DOUBTFUL = 64
"""Elements of a span that are summed one by one; where there are more, the whole span is summed in limbs."""

Terms = Callable[[Span, BaseSpan], Iterator[Array]]
"""The terms of a span's sum, (t,) each, one after another in the same memory."""


READ = 1 << 18
"""Elements of all sources together that are read at a time where their files are summed in C."""


@dataclass(frozen=True, slots=True)
class Sum:
    """total * multiply / divide: sum_i c_i x_i of one span, x_i a value or a delta."""

    total: Float64  # (t,)
    multiply: float = 1.0
    divide: float = 1.0
    base_share: float = 0.0  # fused delta = the sum - base_share * base

    def delta(self, base: BaseSpan) -> Float64:
        """The fused delta; in the memory of the sum."""
        delta = self._scaled()
        if self.base_share:
            delta -= self.base_share * base.values.astype(np.float64)
        return delta

    def stepped(self, base: BaseSpan, outer_lr: float) -> Float64:
        """base + outer_lr * fused delta; in the memory of the sum."""
        values = self._scaled()
        values *= outer_lr
        if share := self._share(outer_lr):
            values += share * base.values.astype(np.float64)
        return values

    def stored(self, base: BaseSpan, outer_lr: float, dtype: str) -> Array:
        """The same in storage dtype, in scratch. Raises TensorMismatch where it does not hold one."""
        out, share = scratch("new values", self.total.size, STORAGE[dtype]), self._share(outer_lr)
        scaling = kernels.Scaling(self.multiply, self.divide, outer_lr, share)
        largest = kernels.finish(self.total, scaling, base.values if share else None, dtype, out)
        if largest is not None and largest <= LARGEST[dtype]:
            return out
        return _stored(self.stepped(base, outer_lr), dtype)

    def _scaled(self) -> Float64:
        total = self.total
        total *= self.multiply
        total /= self.divide
        return total

    def _share(self, outer_lr: float) -> float:
        """0 for a mean over values: the base is not read."""
        return 1.0 - outer_lr * self.base_share


def weighted_sum(cohort: Cohort, span: Span, base: BaseSpan, coefficients: Coefficients) -> Sum:
    """factor * sum_i numerators[i] d_i / divisor, over values for every source that brings them."""
    numerators = coefficients.numerators
    used = [i for i, numerator in enumerate(numerators) if numerator] or [0]
    total, unit = _exact(cohort, used, numerators[used], span, base)
    brings_values = [source.brings_values for source in cohort.sources]
    return scaled(total, unit, coefficients, brings_values)


def scaled(total: Float64, unit: float, coefficients: Coefficients, brings_values: Sequence[bool]) -> Sum:
    """The sum, from an exact one of which the numerators are multiples by `unit`."""
    of_values = math.fsum(
        c for c, values in zip(coefficients.numerators, brings_values, strict=True) if values
    )
    factor, divisor = coefficients.factor, coefficients.divisor
    return Sum(total, factor * unit, divisor, factor * of_values / divisor)


def _stored(values: Float64, dtype: str) -> Array:
    # An infinity in a base makes every later delta to it NaN: nobody could contribute any more.
    largest = max(values.max(initial=0.0), -values.min(initial=0.0))
    if not largest <= LARGEST[dtype]:
        raise TensorMismatch(f"takes a number to {largest:.3g}, which {dtype} does not hold")
    return narrow(values, dtype)


def _terms_of(cohort: Cohort, used: list[int]) -> Terms:
    def terms(span: Span, base: BaseSpan) -> Iterator[Array]:
        out = scratch("term", span.count, cohort.working(span))
        for source in (cohort.sources[i] for i in used):
            source.read(span, base, out)
            yield out

    return terms


def _exact(
    cohort: Cohort, used: list[int], numerators: Float64, span: Span, base: BaseSpan
) -> tuple[Float64, float]:
    """(the exact sum of c_i x_i over those used, the unit that makes the c_i the numerators)."""
    terms = _terms_of(cohort, used)
    whole = whole_numbers(tuple(numerators.tolist()))
    if whole is None:
        return _roughly(terms(span, base), numerators, span.count)
    counts, unit = whole
    if set(counts) == {1} and cohort.working(span) is np.float32:
        if (total := _of_files(cohort, used, span)) is not None:
            return total, unit
        plain = CheckedSum(span.count, len(numerators))
        for term in terms(span, base):
            plain.add(term)
            # One large number makes all small ones doubtful, and every later term would add to them.
            if not plain.holds or len(plain.doubtful) > MOST_DOUBTFUL:
                break
        else:
            for at in set(plain.doubtful):
                plain.total[at] = _one(cohort, terms, span, at)
            return plain.total, unit
    running = WholeSum.zeros(span.count)
    for term, count in zip(terms(span, base), counts, strict=True):
        running.add(term, count)
    return running.total(), unit


def _of_files(cohort: Cohort, used: list[int], span: Span) -> Float64 | None:
    """The exact sum of values that lie in files as they are; None where they do not, or without C."""
    files = cohort.stretches(span, used)
    if files is None:
        return None
    rows = (len(files), max(READ // len(files) // 8, 1) * 8)
    total, memory = scratch("sum of files", span.count, np.float64), scratch("read", rows, np.float32)
    return total if kernels.sum_files(files, memory, total) else None


def _roughly(terms: Iterator[Array], numerators: Float64, count: int) -> tuple[Float64, float]:
    """The same for numerators that are no multiples of one unit: products are rounded, their sum is exact."""
    unit = 2.0 ** math.frexp(np.abs(numerators).max())[1]
    exact = ExactSum.zeros(count)
    for term, numerator in zip(terms, numerators, strict=True):
        require_summable(term)  # itself: whether a number is too large is no matter of weights
        exact.add(term * np.float64(numerator / unit))
    return exact.total(), unit


def _one(cohort: Cohort, terms: Terms, span: Span, at: int) -> float:
    """The exact sum of one element, of a span that is being summed."""
    one = Span(span.info, span.start + at, span.start + at + 1)
    with set_aside():
        found = [term.copy() for term in terms(one, cohort.base_span(one))]
        return float(exact_sum(np.stack(found))[0])
