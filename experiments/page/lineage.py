"""The way from the pretrained model to the newest base, and how the newest base comes from its record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from coldfusion.cards import describe, describe_fusing
from coldfusion.gating import PROBE
from coldfusion.layout import tag_name
from coldfusion.records import Entry, Revision, RoundRecord
from experiments.page.contents import Page
from experiments.page.words import count_text

MOST_STEPS, MOST_ENTRIES = 20, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One base."""

    tag: str
    revision: Revision | None
    moment: datetime | None
    how: str
    gain: str  # on the pretrained model, where it was measured
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Every base, the oldest first; with a gap after the first one where there are many."""

    first: Step
    left_out: int
    later: tuple[Step, ...]


def lineage_of(page: Page) -> Lineage:
    """From round 0 to the newest."""
    later = list(pairwise(page.records))
    shown = later[-MOST_STEPS:]
    return Lineage(
        first=_step(page, page.records[0], None),
        left_out=len(later) - len(shown),
        later=tuple(_step(page, record, before) for before, record in shown),
    )


def cohort_of(record: RoundRecord) -> tuple[tuple[Entry, ...], int]:
    """(the contributions that are in a base, how many more there are)."""
    accepted = [entry for entry in record.entries if entry.accepted]
    return tuple(accepted[:MOST_ENTRIES]), max(0, len(accepted) - MOST_ENTRIES)


def _step(page: Page, record: RoundRecord, before: RoundRecord | None) -> Step:
    index = record.round_index
    gain = record.evaluation.gain(PROBE, held_out=True) if index else None
    return Step(
        tag=tag_name(index),
        revision=page.published.revisions.get(index),
        moment=page.published.moments.get(index),
        how=_how(record, before),
        gain=describe(gain),
        notes=record.notes,
    )


def _how(record: RoundRecord, before: RoundRecord | None) -> str:
    """How a base came about; by which rule, where the round before had another."""
    if record.fusing is None:
        return "the pretrained model, as it is"
    if not record.num_accepted:
        return "nothing was fused: the base before, as it is"
    said = f"{record.num_accepted} of {count_text(len(record.entries), 'contribution')} fused"
    rule = describe_fusing(record.fusing)
    if before is not None and before.fusing is not None and describe_fusing(before.fusing) == rule:
        return said
    return f"{said}: {rule}"
