"""Refusals with their reasons, of all rounds, and what the gate saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from coldfusion.records import Entry, RoundRecord, Trial

MOST_REFUSALS, MOST_TRIALS = 60, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """The newest first."""

    total: int
    contributions: int  # refused and fused together
    shown: tuple[tuple[int, Entry], ...]  # round, contribution
    trials: tuple[tuple[int, Trial], ...]  # round, candidate at the gate
    num_trials: int

    @property
    def left_out(self) -> int:
        return self.total - len(self.shown)

    @property
    def trials_left_out(self) -> int:
        return self.num_trials - len(self.trials)


def refusals_of(records: Sequence[RoundRecord]) -> Refusals:
    """Of all rounds."""
    return Refusals(
        total=sum(len(record.entries) - record.num_accepted for record in records),
        contributions=sum(len(record.entries) for record in records),
        shown=tuple(islice(_refused(records), MOST_REFUSALS)),
        trials=tuple(islice(_trials(records), MOST_TRIALS)),
        num_trials=sum(len(record.trials) for record in records),
    )


def _refused(records: Sequence[RoundRecord]) -> Iterator[tuple[int, Entry]]:
    for record in reversed(records):
        yield from ((record.round_index, entry) for entry in record.entries if not entry.accepted)


def _trials(records: Sequence[RoundRecord]) -> Iterator[tuple[int, Trial]]:
    for record in reversed(records):
        yield from ((record.round_index, trial) for trial in record.trials)
