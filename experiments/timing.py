"""Where a run's time went: intervals in a JSON-lines file, and the split that they add up to."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from coldfusion.errors import writing

TRAIN, SCORE, ROUND = "train", "score", "round"


@dataclass(frozen=True, slots=True)
class Interval:
    """Something that took time. Seconds since the epoch."""

    kind: str  # ROUND for a whole round; TRAIN or SCORE for one job; else the name of a coordinator's step
    round_index: int
    name: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Split:
    """How a round's wall time was spent."""

    seconds: float  # of the whole round
    train: float  # seconds in which some worker trained
    score: float  # seconds in which some worker scored
    neither: float  # seconds in which nobody did

    @property
    def overhead(self) -> float:
        """The share of the round in which nobody trained or scored, 0 to 1."""
        return self.neither / self.seconds if self.seconds else 0.0


class Timeline:
    """The intervals of a run, kept in a file so that a run which is resumed knows its past."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.intervals = [Interval(**json.loads(line)) for line in _whole_lines(path)]

    def add(self, interval: Interval) -> None:
        self.intervals.append(interval)
        with writing(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(interval)) + "\n")

    def split(self, round_index: int) -> Split | None:
        """The split of a round that ran from its start to its end; None where it was interrupted."""
        rounds = [i for i in self.intervals if (i.kind, i.round_index) == (ROUND, round_index)]
        if not rounds:
            return None
        whole = rounds[-1]
        inside = [i for i in self.intervals if whole.start <= i.start and i.end <= whole.end]
        train = [i for i in inside if i.kind == TRAIN]
        score = [i for i in inside if i.kind == SCORE]
        neither = whole.seconds - covered([*train, *score])
        return Split(whole.seconds, covered(train), covered(score), neither)


@dataclass(slots=True)
class StepClock:
    """Notes in a timeline how long each step of the coordinator took; to be told the steps as they begin."""

    timeline: Timeline
    round_index: int
    _running: tuple[str, float] | None = field(default=None, init=False)

    def __call__(self, step: str) -> None:
        now = time.time()
        if self._running is not None:
            name, started = self._running
            self.timeline.add(Interval(name, self.round_index, "", started, now))
        self._running = (step, now)


def covered(intervals: Iterable[Interval]) -> float:
    """Seconds that at least one of the intervals covers."""
    total, reached = 0.0, float("-inf")
    for interval in sorted(intervals, key=lambda i: i.start):
        total += max(0.0, interval.end - max(interval.start, reached))
        reached = max(reached, interval.end)
    return total


def _whole_lines(path: Path) -> list[str]:
    """The lines of a file, which loses its last one if a kill cut that off."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        os.truncate(path, len(whole.encode()))
    return whole.splitlines()
