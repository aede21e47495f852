"""The first pass over a cohort: what is not finite, how large deltas are, and their inner products.

Norms, cosines, distances and every coefficient that follows from them come out of the n x n matrix of inner
products, so that screens and fusers decide before anything is fused and without opening a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import groupby

import numpy as np

from coldfusion.engine.crews import Crew
from coldfusion.engine.sources import BaseSpan, Cohort
from coldfusion.engine.spans import SPAN, Span, groups_of, spans_of
from coldfusion.exact import gram as products
from coldfusion.exact.gram import PIECE, inner_products
from coldfusion.exact.scratch import scratch
from coldfusion.native import kernels
from coldfusion.stats import RoundStats, no_deltas

LARGEST = 2.0**100
"""A larger number counts as an infinity: inner products of it would leave the range of their grid."""
MEASURED = 4 * SPAN
"""Elements of a span that is measured as one: always so many, for its sums are added up in their order."""
READ = 1 << 17
"""Elements of all contributions together that are read and measured at a time in C."""
HELD = 1 << 21
"""Elements of all contributions together that a worker holds at a time, but for a piece of each."""


def measure_cohort(
    cohort: Cohort,
    crew: Crew,
    *,
    by_tensor: bool = False,
    on_elements: Callable[[int], None] = lambda count: None,
) -> RoundStats:
    """One pass over everything. by_tensor: keep what is found of every tensor too, n * n * 8 bytes each."""
    n, whole = len(cohort.sources), no_deltas(cohort.keys)
    odd: dict[str, str] = {}
    tensors = dict.fromkeys(cohort.body, whole) if by_tensor else {}  # also those that have no element
    for name, spans in groupby(_measured_spans(cohort, crew), lambda pair: pair[0].info.name):
        of_tensor = no_deltas(cohort.keys)
        for span, found in spans:
            of_tensor = _added(of_tensor, found)
            on_elements(span.count * n)
        if not of_tensor.finite.all():
            of_tensor = _without_odd(of_tensor)
            odd = {cohort.keys[i]: name for i in np.flatnonzero(~of_tensor.finite)} | odd
        if by_tensor:
            tensors[name] = of_tensor
        whole = _added(whole, of_tensor)
    return replace(_without_odd(whole), tensors=tensors, odd=dict(sorted(odd.items())))


def _measured_spans(cohort: Cohort, crew: Crew) -> Iterator[tuple[Span, RoundStats]]:
    if not cohort.sources:
        return
    # A group's inner products, n * n of every span, are not more than a few megabytes.
    cut = partial(spans_of, size=MEASURED)
    groups = list(groups_of(cohort.body.values(), cut, least=len(cohort.sources) ** 2 // 4))
    for group, results in zip(groups, crew.run(partial(_measure_group, cohort), groups), strict=True):
        yield from zip(group, results, strict=True)


def _measure_group(cohort: Cohort, group: tuple[Span, ...]) -> list[RoundStats]:
    return [_measure_span(cohort, span) for span in group]


def _measure_span(cohort: Cohort, span: Span) -> RoundStats:
    """Of one span; in parts where there are many contributions, which gives the same bytes."""
    size = max(HELD // len(cohort.sources) // PIECE, 1) * PIECE
    found = no_deltas(cohort.keys)
    for start in range(span.start, span.stop, size):
        found = _measured_on(found, cohort, Span(span.info, start, min(start + size, span.stop)))
    return found


def _measured_on(found: RoundStats, cohort: Cohort, part: Span) -> RoundStats:
    """What is found of a span up to the end of its next part."""
    base = cohort.base_span(part)
    before = kernels.Measures(found.gram, found.peaks)
    if quick := _of_files(before, cohort, part, base):
        return replace(found, gram=quick.gram, peaks=quick.peaks)
    deltas = cohort.deltas(part, base)
    if deltas.dtype == np.float64:
        with np.errstate(over="ignore"):
            deltas = deltas.astype(np.float32)
    if quick := products.in_c(deltas, before, LARGEST):
        return replace(found, gram=quick.gram, peaks=quick.peaks)
    peaks = np.maximum(deltas.max(axis=1), -deltas.min(axis=1)).astype(np.float64)
    finite = peaks <= LARGEST  # and not NaN
    if not finite.all():
        deltas[~finite] = 0
        peaks[~finite] = 0
    gram = inner_products(deltas, found.gram)  # onto what there is: in the same order however a span is cut
    return RoundStats(cohort.keys, found.finite & finite, np.maximum(found.peaks, peaks), gram)


def _of_files(
    before: kernels.Measures, cohort: Cohort, part: Span, base: BaseSpan
) -> kernels.Measures | None:
    """The same where all sources are files of this machine, read and measured block by block; else None."""
    files = cohort.stretches(part)
    if files is None or cohort.working(part) is not np.float32:
        return None
    n, block = len(files), max(READ // len(files) // PIECE, 1) * PIECE
    memory = scratch("deltas in C", (n, block), np.float32), scratch("grid in C", (n, PIECE), np.float64)
    found = before.copy()
    measured = kernels.measure_files(files, base.values, products.grid(LARGEST), memory, found)
    return found if measured else None


def _added(one: RoundStats, two: RoundStats) -> RoundStats:
    return RoundStats(
        one.keys,
        finite=one.finite & two.finite,
        peaks=np.maximum(one.peaks, two.peaks),
        gram=one.gram + two.gram,
    )


def _without_odd(found: RoundStats) -> RoundStats:
    """With zeros for what is not finite in some span, whichever span it was."""
    keep = found.finite
    gram = found.gram * np.outer(keep, keep)
    return replace(found, peaks=found.peaks * keep, gram=gram)
