"""report.html: one page about a run that opens from the disk, without network, in light and in dark."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from coldfusion.cards import describe, describe_fusing, describe_trial
from coldfusion.config import dump
from coldfusion.errors import writing
from coldfusion.records import RoundRecord
from contributors.scoring import FINE_TUNE, PROBE
from experiments.charts import gain_chart
from experiments.config import SimulationConfig
from experiments.timing import Split, Timeline

PACKAGES = ("coldfusion", "torch", "transformers", "ray", "numpy", "scikit-learn", "safetensors")


@dataclass(frozen=True, slots=True)
class Run:
    """What a run has come to so far."""

    config: SimulationConfig
    room: Path
    records: tuple[RoundRecord, ...]  # from round 0
    timeline: Timeline

    @property
    def report(self) -> Path:
        return self.room / "report.html"

    @property
    def base(self) -> Path:
        """The newest base, as a checkpoint directory."""
        return self.room / "base"

    def splits(self) -> list[Split]:
        """Of the rounds that ran without interruption."""
        found = (self.timeline.split(record.round_index) for record in self.records)
        return [split for split in found if split is not None]


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task's scores from the first base to the newest."""

    task: str
    held_out: bool
    protocol: str
    first: float
    last: float

    @property
    def gain(self) -> float:
        return self.last - self.first


def write_report(run: Run) -> Path:
    """Write the page; the one from before stays until this one is whole."""
    environment = Environment(
        loader=PackageLoader("experiments"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.globals.update(
        describe=describe,
        describe_fusing=describe_fusing,
        describe_trial=describe_trial,
        PROBE=PROBE,
        FINE_TUNE=FINE_TUNE,
    )
    html = environment.get_template("report.html.j2").render(
        run=run,
        newest=run.records[-1],
        chart=Markup(gain_chart(run.records)),  # our own SVG
        tasks=task_rows(run.records),
        fine_tuned=any(record.evaluation.gain(FINE_TUNE, held_out=True) for record in run.records),
        splits=run.splits(),
        config=dump(run.config),
        machine=machine(),
        versions=versions(),
    )
    partial = run.report.with_suffix(".partial")
    with writing(run.report):
        partial.write_text(html, encoding="utf-8")
        partial.replace(run.report)
    return run.report


def task_rows(records: tuple[RoundRecord, ...]) -> list[TaskRow]:
    """Every task that the pretrained model and the newest base were both scored on, best gain first."""
    scores: dict[tuple[str, str, bool], dict[int, list[float]]] = {}
    for record in (records[0], records[-1]):
        for s in record.evaluation.scores:
            of_task = scores.setdefault((s.task, s.protocol, s.held_out), {})
            of_task.setdefault(record.round_index, []).append(s.score)
    first, last = records[0].round_index, records[-1].round_index
    rows = [
        TaskRow(task, held_out, protocol, _mean(found[first]), _mean(found[last]))
        for (task, protocol, held_out), found in scores.items()
        if first in found and last in found
    ]
    return sorted(rows, key=lambda row: (row.protocol != PROBE, not row.held_out, -row.gain))


def versions() -> dict[str, str]:
    """Of the packages that the numbers hang on."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def machine() -> str:
    """What the run ran on."""
    system = f"{platform.system()} {platform.machine()}"
    return f"{os.cpu_count()} cores, {system}, Python {platform.python_version()}"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
