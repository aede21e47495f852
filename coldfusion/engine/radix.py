"""Radix selection: the pattern at a rank among numbers of any distribution, by histograms, 16 bits a pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from coldfusion.dtypes import Array
from coldfusion.engine.crews import Crew
from coldfusion.engine.spans import Span
from coldfusion.fusers.family import Ranking

_BITS = 16
Read = Callable[[Span], Array]
"""A span -> its unsigned patterns (m, t)."""


def select(groups: Sequence[tuple[Span, ...]], read: Read, ranking: Ranking, crew: Crew) -> Array:
    """(m, k) numbers whose patterns stand at the ranking's ranks, 1 being the largest."""
    count = sum(span.count for group in groups for span in group)
    histogram, nonzero, width = _histograms(groups, read, None, crew)
    m = len(histogram)
    ranks = [ranking.among(count, int(nonzero[i])) for i in range(m)]
    k = len(ranks[0])
    prefixes, left = np.zeros((m, k), np.uint64), np.array(ranks, np.int64)
    for digit in range(width // _BITS):
        for j in range(k):
            if digit:
                histogram, _, _ = _histograms(groups, read, (digit, prefixes[:, j]), crew)
            for i in range(m):
                prefixes[i, j], left[i, j] = _descend(histogram[i], prefixes[i, j], left[i, j])
    if width == 32:
        return prefixes.astype(np.uint32).view(np.float32)
    return prefixes.view(np.float64)


def _descend(histogram: Array, prefix: np.uint64, rank: int) -> tuple[int, int]:
    """(prefix with one more digit, rank among those that share it)."""
    from_top = np.cumsum(histogram[::-1])
    at = int(np.searchsorted(from_top, rank))
    above = int(from_top[at - 1]) if at else 0
    return (int(prefix) << _BITS) | (len(histogram) - 1 - at), rank - above


def _histograms(
    groups: Sequence[tuple[Span, ...]], read: Read, known: tuple[int, Array] | None, crew: Crew
) -> tuple[Array, Array, int]:
    """((m, 2^16) counts of the next digit of those that share the known prefix, (m,) not 0, bits)."""
    results = crew.run(partial(_count_group, read, known), groups)  # one at a time: each is of many megabytes
    histogram, nonzero, width = next(results)
    for more, some, _ in results:
        histogram += more
        nonzero += some
    return histogram, nonzero, width


def _count_group(
    read: Read, known: tuple[int, Array] | None, group: tuple[Span, ...]
) -> tuple[Array, Array, int]:
    counts, nonzero, width = np.zeros((0, 0), np.int64), np.zeros(0, np.int64), 0
    for span in group:
        patterns = read(span)
        if not len(counts):
            width = patterns.itemsize * 8
            counts = np.zeros((len(patterns), 1 << _BITS), np.int64)
            nonzero = np.zeros(len(patterns), np.int64)
        for i, row in enumerate(patterns):
            nonzero[i] += np.count_nonzero(row)
            counts[i] += _digits(row, width, None if known is None else (known[0], known[1][i]))
    return counts, nonzero, width


def _digits(row: Array, width: int, known: tuple[int, np.uint64] | None) -> Array:
    """Counts of the next digit of the patterns that share the known prefix of so many digits."""
    digit, prefix = known or (0, 0)
    if digit:
        row = row[(row >> (width - digit * _BITS)) == prefix]
    return np.bincount((row >> (width - digit * _BITS - _BITS)) & 0xFFFF, minlength=1 << _BITS)
