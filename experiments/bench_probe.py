"""`coldfusion bench probe`: what a probe score costs, beside training the head with the body frozen.

Both come from the same base, training split and test split; the head is trained as the paper trains it
(Don-Yehiya et al. 2023, section 4.4), for 10 epochs. Job by job in this process, one after the other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.table import Table

from contributors.config import ProbeConfig, TrainingConfig
from contributors.devices import limit_threads
from contributors.reporting import unheard
from contributors.scoring import HEAD, PROBE, ScoreJob, score
from contributors.taskfolder import read_task, task_names
from contributors.tasks import Task
from experiments.report import machine, versions

HEAD_TRAINING = TrainingConfig(lr=1e-2, epochs=10.0, batch_size=32)
"""The paper's but for rate and batch: with 5e-5 and 256 a head alone learns nothing from 2,000 examples."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One task scored both ways."""

    task: Task
    probe_seconds: float
    head_seconds: float
    probe_score: float  # points
    head_score: float


def bench_probe(base: Path, tasks: Path, most: int, threads: int) -> Iterator[Pair]:
    """Of the first tasks of a folder, by name; each as soon as it is measured."""
    limit_threads(threads)
    for name in task_names(tasks)[:most]:
        task = read_task(tasks, name, held_out=True)
        found = {}
        for protocol, settings in ((PROBE, ProbeConfig()), (HEAD, HEAD_TRAINING)):
            started = time.perf_counter()
            job = ScoreJob(task=task, protocol=protocol, seed=0, settings=settings)
            made = job.outcomes(score(base, job, unheard).kept)[0].score.score
            found[protocol] = (time.perf_counter() - started, made)
        yield Pair(task, found[PROBE][0], found[HEAD][0], found[PROBE][1], found[HEAD][1])


def table_of(pairs: Sequence[Pair], base: Path, threads: int) -> Table:
    """A row for every task, and the means that count."""
    table = Table(title=f"probe by features and head by training, {base.name}, {threads} threads")
    table.add_column("task")
    for title in ("probe\ns", "head\ns", "ratio", "probe\nscore", "head\nscore", "difference"):
        table.add_column(title, justify="right")
    for pair in pairs:
        seconds = (f"{pair.probe_seconds:.1f}", f"{pair.head_seconds:.1f}", f"{_ratio(pair):.1f}")
        difference = f"{pair.probe_score - pair.head_score:+.2f}"
        table.add_row(
            pair.task.name, *seconds, f"{pair.probe_score:.2f}", f"{pair.head_score:.2f}", difference
        )
    mean = math.fsum(pair.probe_score - pair.head_score for pair in pairs) / len(pairs)
    total = sum(pair.head_seconds for pair in pairs) / sum(pair.probe_seconds for pair in pairs)
    ratio = f"ratio of all seconds {total:.1f}, median {median(map(_ratio, pairs)):.1f}"
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    table.caption = f"{ratio}; mean difference {mean:+.2f} points; {machine()}; {packages}"
    return table


def _ratio(pair: Pair) -> float:
    return pair.head_seconds / pair.probe_seconds
