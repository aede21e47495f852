"""Scores that are averaged together: of one protocol, on one kind of tasks, in one unit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from coldfusion.metrics import METRICS
from coldfusion.records import Evaluation, Gain, TaskScore


@dataclass(frozen=True, slots=True)
class Group:
    """Which scores. Nothing is averaged across groups."""

    protocol: str
    held_out: bool
    unit: str  # "points" or "nats"

    @property
    def kind(self) -> str:
        return "held-out" if self.held_out else "contributed"

    @property
    def title(self) -> str:
        return f"{self.protocol}, {self.kind}" + (", loss" if self.unit == "nats" else "")

    def mean(self, scores: Iterable[TaskScore]) -> float | None:
        """Over the tasks and seeds that are in the group; None where there is no score."""
        found = [score.score for score in scores if group_of(score) == self]
        return fmean(found) if found else None

    def gain(self, evaluation: Evaluation, against: str = "pretrained") -> Gain | None:
        return evaluation.gain(self.protocol, held_out=self.held_out, against=against, unit=self.unit)


def group_of(score: TaskScore) -> Group:
    """The one that a score is in."""
    return Group(score.protocol, score.held_out, METRICS[score.metric].unit)
