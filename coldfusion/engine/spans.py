"""How tensors are cut: spans of a fixed size that are measured and fused one by one, in groups per worker.

A measured span is always of the same size, whatever the cohort, the threads and the machine: sums
over spans are taken in their order, and so give the same bytes everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from coldfusion.tensorfile import TensorInfo

SPAN = 32_768
"""Elements of a span: 128 kB in fp32, so that a handful of them stays in a core's own cache."""
GROUP = 8 * SPAN
"""Elements that a worker takes at a time: enough that handing out work costs nothing beside the work."""
LARGE = 4 * SPAN
"""Elements of a span that need not stay in a cache: threads then hand over the interpreter less often."""
HELD = 128 * SPAN
"""Elements of all inputs together that a worker holds of a span, where 1,024 of each are not more."""

Tiling = Literal["any", "rows", "tensor"]


@dataclass(frozen=True, slots=True)
class Span:
    """Elements [start, stop) of the flattened tensor."""

    info: TensorInfo
    start: int
    stop: int

    @property
    def count(self) -> int:
        return self.stop - self.start


def spans_of(info: TensorInfo, tiling: Tiling = "any", size: int = SPAN) -> Iterator[Span]:
    """A tensor cut into spans; "rows": of whole rows (its first dimension), "tensor": not cut at all."""
    if tiling == "tensor" and info.count:
        size = info.count
    elif tiling == "rows" and info.count:
        row = info.count // info.shape[0] if len(info.shape) > 1 else info.count
        size = max(1, size // row) * row
    for start in range(0, info.count, size):
        yield Span(info, start, min(start + size, info.count))


def tile_size(n: int) -> int:
    """Elements of a span of which a worker holds each of n inputs."""
    return max(min(LARGE, HELD // max(n, 1)), 1024)


def groups_of(
    infos: Iterable[TensorInfo],
    cut: Callable[[TensorInfo], Iterable[Span]] = spans_of,
    least: int = 0,
) -> Iterator[tuple[Span, ...]]:
    """Tensors one after another, cut into spans, and these in groups, see `grouped`."""
    return grouped((span for info in infos for span in cut(info)), least=least)


def grouped(spans: Iterable[Span], size: int = GROUP, least: int = 0) -> Iterator[tuple[Span, ...]]:
    """Spans one after another in groups of about so many elements: small tensors share one.

    least: what a span counts as at least, where something is kept of each that grows with the cohort.
    """
    group: list[Span] = []
    held = 0
    for span in spans:
        counted = max(span.count, least)
        if group and held + counted > size:
            yield tuple(group)
            group, held = [], 0
        group.append(span)
        held += counted
    if group:
        yield tuple(group)
