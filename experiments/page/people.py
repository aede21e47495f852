"""Who contributed what, and what it was worth: the credit table and the contributions of every round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coldfusion.cards import describe
from coldfusion.credits import Credit, correlation, credits_of
from coldfusion.records import Entry, RoundRecord, Worth
from experiments.page.cutting import Ends, ends
from experiments.page.shades import Cell, cell
from experiments.page.words import signed

MOST_CREDITS, MOST_ENTRIES = 32, 32  # in all, and of one round
TAIL = 8  # of these, that were worth least, where not all fit
MOST_ROUNDS = 12
MOST_TASKS = 12
"""Tasks that the worth of a round is told for one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditTable:
    """What every contributor's work was worth, over all rounds."""

    rows: Ends[Credit]
    total: int
    measured: bool  # whether anything was left out once, in any round
    estimated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One contribution of a round, with what it was worth."""

    entry: Entry
    worth: Worth | None

    @property
    def gain(self) -> str:
        return describe(self.worth.gain) if self.worth else ""

    @property
    def points(self) -> float | None:
        return self.worth.gain.mean if self.worth and self.worth.gain else None

    @property
    def nats(self) -> float | None:
        return self.worth.estimate if self.worth else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundOf:
    """The contributions of one round, most worth first, refused ones last."""

    record: RoundRecord
    rows: Ends[Given]
    refused_left_out: int
    measured: bool
    estimated: bool
    correlation: float | None  # of the estimates with what was measured
    by_task: WorthMap | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorthMap:
    """What the contributions of one round were worth, task by task."""

    tasks: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]  # contributor -> a cell for every task
    tasks_left_out: int
    most: float  # points at which a colour is full


def credit_table(records: Sequence[RoundRecord]) -> CreditTable:
    """The best and the worst where there are more than fit."""
    every = credits_of(records)
    return CreditTable(
        rows=ends(every, MOST_CREDITS, tail=TAIL),
        total=len(every),
        measured=any(credit.num_measured for credit in every),
        estimated=any(credit.estimate is not None for credit in every),
    )


def rounds_of(records: Sequence[RoundRecord]) -> list[RoundOf]:
    """The newest rounds that had contributions, newest first."""
    return [_round_of(record) for record in reversed(records) if record.entries][:MOST_ROUNDS]


def _round_of(record: RoundRecord) -> RoundOf:
    worths = {worth.contributor: worth for worth in record.worths}
    # A refused one may bear the name of one that was fused: somebody submitted twice.
    given = [Given(entry=e, worth=worths.get(e.contributor) if e.accepted else None) for e in record.entries]
    fused = [g for g in given if g.entry.accepted]
    fused.sort(key=lambda g: (-(g.points or 0.0), -(g.nats or 0.0), g.entry.contributor))
    refused = [g for g in given if not g.entry.accepted][: max(0, MOST_ENTRIES - len(fused))]
    rows = ends([*fused, *refused], MOST_ENTRIES, tail=TAIL)
    return RoundOf(
        record=record,
        rows=rows,
        refused_left_out=len(given) - len(fused) - len(refused),
        measured=any(worth.gain is not None for worth in record.worths),
        estimated=any(worth.estimate is not None for worth in record.worths),
        correlation=correlation(record.worths),
        by_task=_worth_map([g.worth for g in rows.shown if g.worth and g.worth.tasks]),
    )


def _worth_map(worths: Sequence[Worth]) -> WorthMap | None:
    values = [{gain.task: gain.mean for gain in worth.tasks} for worth in worths]
    every = {task for row in values for task in row}
    size = {task: max(abs(row.get(task, 0.0)) for row in values) for task in every}
    if not size:
        return None
    tasks = sorted(sorted(size, key=lambda task: (-size[task], task))[:MOST_TASKS])
    most = max(size.values())
    rows = [tuple(_worth_cell(row.get(task), most) for task in tasks) for row in values]
    return WorthMap(
        tasks=tuple(tasks),
        rows=tuple((worth.contributor, row) for worth, row in zip(worths, rows, strict=True)),
        tasks_left_out=len(size) - len(tasks),
        most=most,
    )


def _worth_cell(value: float | None, most: float) -> Cell:
    return cell(value, signed(value or 0.0), most)
