"""Bytes and time, round by round."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from coldfusion.records import RoundRecord
from experiments.page.contents import Page
from experiments.timing import Split

MOST_ROUNDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one round cost."""

    round_index: int
    fused: int
    fused_bytes: int  # of the delta files
    refused: int
    refused_bytes: int  # of those whose manifest could be read
    published: datetime | None
    took: timedelta | None  # since the base before was published
    split: Split | None  # of a run of this machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """The newest round first."""

    loads: tuple[Load, ...]
    left_out: int
    fused_bytes: int  # of all rounds
    refused_bytes: int
    most_bytes: int  # of a round that is shown
    most_seconds: float

    @property
    def timed(self) -> bool:
        """Whether it is known where the time of some round went."""
        return any(load.split for load in self.loads)


def traffic_of(page: Page) -> Traffic:
    """Of every round that had contributions."""
    loads = [_load(page, record) for record in page.fused]
    shown = tuple(loads[:MOST_ROUNDS])
    return Traffic(
        loads=shown,
        left_out=len(loads) - len(shown),
        fused_bytes=sum(load.fused_bytes for load in loads),
        refused_bytes=sum(load.refused_bytes for load in loads),
        most_bytes=max((load.fused_bytes + load.refused_bytes for load in shown), default=0),
        most_seconds=max((load.split.seconds for load in shown if load.split), default=0.0),
    )


def _load(page: Page, record: RoundRecord) -> Load:
    index, moments = record.round_index, page.published.moments
    published, before = moments.get(index), moments.get(index - 1)
    return Load(
        round_index=index,
        fused=record.num_accepted,
        fused_bytes=sum(entry.size or 0 for entry in record.entries if entry.accepted),
        refused=len(record.entries) - record.num_accepted,
        refused_bytes=sum(entry.size or 0 for entry in record.entries if not entry.accepted),
        published=published,
        took=published - before if published and before else None,
        split=page.run.splits.get(index) if page.run else None,
    )
