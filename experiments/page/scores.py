"""The scores of every base: which groups of tasks there are, and the gain that a page opens with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coldfusion.metrics import METRICS
from coldfusion.records import Evaluation, Gain, RoundRecord, TaskScore

PROTOCOLS = ("probe", "head", "few-shot", "fine-tune")
"""In the order in which a page tells them."""


@dataclass(frozen=True, slots=True)
class Group:
    """Scores that are averaged: of one protocol, on one kind of tasks, in one unit."""

    protocol: str
    held_out: bool
    unit: str  # "points" or "nats"

    @property
    def title(self) -> str:
        kind = "held-out" if self.held_out else "contributed"
        return f"{self.protocol}, {kind}" + (", loss" if self.unit == "nats" else "")

    def mean(self, scores: Iterable[TaskScore]) -> float | None:
        """Over tasks and seeds; None where there is no score."""
        found = [
            s.score
            for s in scores
            if (s.protocol, s.held_out, METRICS[s.metric].unit) == (self.protocol, self.held_out, self.unit)
        ]
        return math.fsum(found) / len(found) if found else None

    def gain(self, evaluation: Evaluation, against: str = "pretrained") -> Gain | None:
        return evaluation.gain(self.protocol, held_out=self.held_out, against=against, unit=self.unit)


@dataclass(frozen=True, slots=True)
class Opening:
    """The newest gain, with which a page opens."""

    group: Group
    gain: Gain  # on the pretrained model
    previous: Gain | None  # on the base before


def groups_of(records: Sequence[RoundRecord]) -> list[Group]:
    """Every group that some base has scores in: probe first, held-out first, points first."""
    found = {
        Group(s.protocol, s.held_out, METRICS[s.metric].unit)
        for record in records
        for s in record.evaluation.scores
    }
    return sorted(found, key=lambda g: (_place(g.protocol), g.protocol, g.unit != "points", not g.held_out))


def opening(records: Sequence[RoundRecord]) -> Opening | None:
    """The newest base's gain on held-out tasks, else on contributed ones; None before the first round."""
    newest = records[-1]
    if newest.round_index == 0:
        return None
    for group in sorted(groups_of(records), key=lambda group: not group.held_out):
        if gain := group.gain(newest.evaluation):
            return Opening(group, gain, group.gain(newest.evaluation, "previous"))
    return None


def _place(protocol: str) -> int:
    return PROTOCOLS.index(protocol) if protocol in PROTOCOLS else len(PROTOCOLS)
