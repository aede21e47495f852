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

from coldfusion.dtypes import LARGEST, Array, Float64, narrow
from coldfusion.engine.sources import BaseSpan, Cohort
from coldfusion.engine.spans import Span
from coldfusion.errors import TensorMismatch
from coldfusion.exact.scratch import scratch, set_aside
from coldfusion.exact.sums import CheckedSum, ExactSum, exact_sum, require_summable
from coldfusion.exact.wholesums import WholeSum, whole_numbers
from coldfusion.fusers.family import Coefficients

MOST_DOUBTFUL = 64
"""Elements of a span that are summed one by one; where there are more, the whole span is summed in limbs."""

Terms = Callable[[Span, BaseSpan], Iterator[Array]]
"""The terms of a span's sum, (t,) each, one after another in the same memory."""


@dataclass(frozen=True, slots=True)
class Sum:
    """sum_i c_i x_i of one span, x_i a value or a delta, and how much of the base is to be taken off."""

    values: Float64  # (t,)
    base_share: float  # fused delta = values - base_share * base


def weighted_sum(cohort: Cohort, span: Span, base: BaseSpan, coefficients: Coefficients) -> Sum:
    """factor * sum_i numerators[i] d_i / divisor, over values for every source that brings them."""
    numerators = coefficients.numerators
    used = [i for i, numerator in enumerate(numerators) if numerator] or [0]
    total, unit = _exact(cohort, _terms_of(cohort, used), numerators[used], span, base)
    brings_values = [source.brings_values for source in cohort.sources]
    return scaled(total, unit, coefficients, brings_values)


def scaled(total: Float64, unit: float, coefficients: Coefficients, brings_values: Sequence[bool]) -> Sum:
    """The sum, from an exact one of which the numerators are multiples by `unit`; in the same memory."""
    total *= coefficients.factor * unit
    total /= coefficients.divisor
    of_values = math.fsum(
        c for c, values in zip(coefficients.numerators, brings_values, strict=True) if values
    )
    return Sum(total, coefficients.factor * of_values / coefficients.divisor)


def stepped(found: Sum, base: BaseSpan, outer_lr: float) -> Float64:
    """base + outer_lr * fused delta; in the memory of the sum."""
    values = found.values
    values *= outer_lr
    if (share := 1.0 - outer_lr * found.base_share) != 0.0:  # 0 for a mean over values: the base is not read
        values += share * base.values.astype(np.float64)
    return values


def stored(values: Float64, dtype: str) -> Array:
    """The new values in storage dtype. Raises TensorMismatch where it does not hold one."""
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
    cohort: Cohort, terms: Terms, numerators: Float64, span: Span, base: BaseSpan
) -> tuple[Float64, float]:
    """(the exact sum of c_i x_i, the unit that makes the c_i the numerators)."""
    whole = whole_numbers(tuple(numerators.tolist()))
    if whole is None:
        return _roughly(terms(span, base), numerators, span.count)
    counts, unit = whole
    if set(counts) == {1} and cohort.working(span) is np.float32:
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
