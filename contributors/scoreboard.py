"""What `coldfusion evaluate` found, as tables for people and as JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from coldfusion.cards import describe, describe_worse
from coldfusion.errors import writing
from coldfusion.jsonrecords import to_json
from coldfusion.metrics import METRICS
from coldfusion.records import Evaluation, TaskScore
from contributors.evaluating import Compared


def show(found: Sequence[Compared], console: Console, *, by_task: bool = False) -> None:
    """Print a row for every base and protocol; and one for every task, where asked for."""
    console.print(_summary(found))
    for one in found:
        for kind, other in (("previous", one.previous), ("pretrained", one.pretrained)):
            if other is not None:
                console.print(f"{one.name}: {kind} is {other}", highlight=False, markup=False, soft_wrap=True)
    if by_task:
        console.print(_by_task(found))


def write_json(found: Sequence[Compared], path: Path) -> None:
    """Everything that was found, a list of bases. Raises StorageError."""
    text = ",\n".join(to_json(one).decode().rstrip() for one in found)
    with writing(path):
        path.write_text(f"[{text}]\n", encoding="utf-8")


def _summary(found: Sequence[Compared]) -> Table:
    table = Table(title="held-out tasks; gains with 95 % intervals over tasks and examples")
    for title in ("base", "protocol"):
        table.add_column(title, overflow="fold")
    table.add_column("score", justify="right")
    for title in ("gain on the previous", "worse, the worst", "gain on the pretrained", "worse, the worst"):
        table.add_column(title)
    for one in found:
        for protocol, unit in _groups(one.evaluation):
            gains = [
                one.evaluation.gain(protocol, held_out=True, against=against, unit=unit)
                for against in ("previous", "pretrained")
            ]
            mean = mean_score(one.evaluation, protocol, unit)
            cells = [cell for gain in gains for cell in (describe(gain), describe_worse(gain))]
            table.add_row(one.name, protocol if unit == "points" else f"{protocol}, {unit}", mean, *cells)
    return table


def _by_task(found: Sequence[Compared]) -> Table:
    table = Table(title="scores by task, means over the seeds")
    for title in ("task", "metric", "protocol"):
        table.add_column(title)
    for one in found:
        table.add_column(one.name, justify="right", overflow="fold")
    rows = sorted({(s.protocol, s.task, s.metric) for one in found for s in one.evaluation.scores})
    for protocol, task, metric in rows:
        scores = [_mean_of(one.evaluation, protocol, task, metric) for one in found]
        table.add_row(task, metric, protocol, *(f"{score:.2f}" for score in scores))
    return table


def mean_score(evaluation: Evaluation, protocol: str, unit: str) -> str:
    """Over the held-out tasks whose metrics are in a unit, every score weighing the same."""
    group = [s for s in evaluation.scores if s.protocol == protocol and METRICS[s.metric].unit == unit]
    return f"{_mean(group):.2f}"


def _groups(evaluation: Evaluation) -> list[tuple[str, str]]:
    return list(dict.fromkeys((s.protocol, METRICS[s.metric].unit) for s in evaluation.scores))


def _mean_of(evaluation: Evaluation, protocol: str, task: str, metric: str) -> float:
    wanted = (protocol, task, metric)
    return _mean([s for s in evaluation.scores if (s.protocol, s.task, s.metric) == wanted])


def _mean(scores: Sequence[TaskScore]) -> float:
    return math.fsum(s.score for s in scores) / len(scores) if scores else math.nan
