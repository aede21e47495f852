"""The heat map: what every task has gained on the pretrained model, round by round."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coldfusion.groups import Group, group_of
from coldfusion.metrics import METRICS
from coldfusion.records import RoundRecord, TaskScore
from experiments.page.cutting import Ends, ends, spread
from experiments.page.scores import groups_of
from experiments.page.shades import Cell, cell
from experiments.page.words import signed

MOST_ROUNDS, MOST_TASKS = 12, 40

Scored = dict[str, float]
"""Task -> its mean over seeds, in the metric's unit, turned so that higher is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One task."""

    task: str
    cells: tuple[Cell, ...]  # one for every round that is shown
    before: float  # the pretrained model's score
    after: float  # the newest base's


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """The gains of one group of tasks, best first."""

    group: Group
    rounds: tuple[int, ...]  # that are shown
    rounds_left_out: int
    rows: Ends[Row]
    most: float  # the gain at which a colour is full


def heat_maps(records: Sequence[RoundRecord]) -> list[HeatMap]:
    """One for every group that the pretrained model and the newest base both have scores in."""
    made = (_heat_map(group, records) for group in groups_of(records)) if len(records) > 1 else ()
    return [heat for heat in made if heat.rows.first]


def _heat_map(group: Group, records: Sequence[RoundRecord]) -> HeatMap:
    first, later = _scored(group, records[0].evaluation.scores), records[1:]
    shown = [later[i] for i in spread(len(later), MOST_ROUNDS)]
    # A federation that was founded without held-out tasks scores the pretrained model with the later bases.
    starts = [first | _scored(group, record.evaluation.pretrained) for record in shown]
    scores = [_scored(group, record.evaluation.scores) for record in shown]
    start, now = starts[-1], scores[-1]
    tasks = sorted((task for task in start if task in now), key=lambda task: (start[task] - now[task], task))
    kept = ends(tasks, MOST_TASKS, tail=MOST_TASKS // 2)
    pairs = list(zip(scores, starts, strict=True))
    gains = {
        task: [
            after[task] - before[task] if task in after and task in before else None
            for after, before in pairs
        ]
        for task in kept.shown
    }
    most = _scale(value for row in gains.values() for value in row if value is not None)
    sign, digits = (-1, 3) if group.unit == "nats" else (1, 1)

    def row(task: str) -> Row:
        cells = (cell(value, signed(value or 0.0, digits), most) for value in gains[task])
        return Row(task=task, cells=tuple(cells), before=sign * start[task], after=sign * now[task])

    return HeatMap(
        group=group,
        rounds=tuple(record.round_index for record in shown),
        rounds_left_out=len(later) - len(shown),
        rows=Ends(tuple(map(row, kept.first)), kept.left_out, tuple(map(row, kept.last))),
        most=most,
    )


def _scored(group: Group, scores: Iterable[TaskScore]) -> Scored:
    found: dict[str, list[float]] = defaultdict(list)
    for s in scores:
        if group_of(s) == group:
            name = s.task if s.metric in ("accuracy", "loss") else f"{s.task} ({s.metric})"
            found[name].append(METRICS[s.metric].sign * s.score)
    return {task: math.fsum(values) / len(values) for task, values in found.items()}


def _scale(values: Iterable[float]) -> float:
    """The 95th percentile of the sizes, so that one wild task does not bleach the others."""
    sizes = sorted(map(abs, values))
    return sizes[round(0.95 * (len(sizes) - 1))] if sizes else 0.0
