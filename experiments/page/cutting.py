"""What a page shows where there is more than fits: the two ends of a ranking, or some along the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ends(Generic[T]):
    """A ranking, whole or without its middle."""

    first: tuple[T, ...]
    left_out: int
    last: tuple[T, ...]

    @property
    def shown(self) -> tuple[T, ...]:
        return self.first + self.last


def ends(ranking: Sequence[T], most: int, *, tail: int) -> Ends[T]:
    """At most so many of a ranking, `tail` of them from its end where not all fit."""
    if len(ranking) <= most:
        return Ends(tuple(ranking), 0, ())
    return Ends(tuple(ranking[: most - tail]), len(ranking) - most, tuple(ranking[-tail:]))


def spread(count: int, most: int) -> list[int]:
    """At most so many of range(count), evenly apart, with the first and the last."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})
