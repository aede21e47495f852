"""Scoring bases on tasks: on a pool, nothing computed twice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from coldfusion.attribution import Assessor, Compared
from coldfusion.checkpoint import weight_files
from coldfusion.errors import RoundError, writing
from coldfusion.federation import Evaluate
from coldfusion.metrics import metric_named
from coldfusion.places import sha256_of
from coldfusion.records import Evaluation
from coldfusion.scores import Outcome, evaluation_of, gain_of, task_gains
from contributors.gradients import write_gradient
from contributors.jobs import Arrays, Job, Scored, take
from contributors.pool import Pool
from contributors.scoring import Protocol, jobs_of
from contributors.tasks import Task, validation_of

VERSION = "4"
"""Of how scores are taken. Raised when that changes, or what was kept from before would be taken for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluator:
    """Scores bases. What came of a job is kept below `cache`, by everything that it depends on."""

    pool: Pool
    cache: Path
    on_progress: Callable[[Job, int, int], None] = lambda job, done, total: None
    on_scored: Callable[[Job, Scored], None] = lambda job, scored: None

    def missing(self, base: Path, jobs: Sequence[Job]) -> list[Job]:
        """Those of the jobs that were not done for this base yet."""
        return self._missing(model_digest(base), jobs)

    def evaluate(self, base: Path, jobs: Sequence[Job], others: Mapping[str, Path]) -> Evaluation:
        """The scores of one base, with its gains on others: "pretrained" or "previous" -> directory."""
        found = self.outcomes(base, jobs)
        return evaluation_of(found, {name: self.outcomes(other, jobs) for name, other in others.items()})

    def outcomes(self, base: Path, jobs: Sequence[Job]) -> list[Outcome]:
        """What the checkpoint directory `base` made of every job, as each metric takes it."""
        model = model_digest(base)
        for job, result in self._run(base, self._missing(model, jobs)):
            _save(self._place(model, job), result.kept)
            self.on_scored(job, result)
        return [outcome for job in jobs for outcome in job.outcomes(_load(self._place(model, job)))]

    def _missing(self, model: str, jobs: Sequence[Job]) -> list[Job]:
        return [job for job in jobs if not self._place(model, job).exists()]

    def _run(self, base: Path, jobs: Sequence[Job]) -> Iterator[tuple[Job, Scored]]:
        if not jobs:
            return
        for job, result in self.pool.run(take, base, jobs, self.on_progress):
            if isinstance(result, Exception):
                raise RoundError(f"cannot score {job.label}: {result}") from result
            yield job, result

    def _place(self, model: str, job: Job) -> Path:
        return self.cache / f"{_digest([VERSION, model, *job.key])}.npz"


def others(pretrained: Path, before: Path | None) -> dict[str, Path]:
    """What a base of a federation is compared with."""
    return {"pretrained": pretrained} | ({} if before is None else {"previous": before})


def judging(evaluator: Evaluator, tasks: Sequence[Task], protocols: Sequence[Protocol]) -> Evaluate | None:
    """How candidates are judged at the gate: on parts of the held-out tasks' training splits."""
    judged = [validation_of(task) for task in tasks if task.held_out]
    if not judged:
        return None
    jobs = jobs_of(judged, protocols)
    return lambda base, before: evaluator.evaluate(base, jobs, {} if before is None else {"previous": before})


def assessing(evaluator: Evaluator, tasks: Sequence[Task], protocol: Protocol) -> Assessor | None:
    """What finds out the worth of contributions: on the same splits as candidates are judged on."""
    judged = [validation_of(task) for task in tasks if task.held_out]
    if not judged:
        return None
    jobs = jobs_of(judged, [protocol])

    def compare(base: Path, without: Path) -> Compared:
        after, before = (_in_points(evaluator.outcomes(one, jobs)) for one in (base, without))
        gain = gain_of(after, before, against="without")
        if gain is None:
            raise RoundError("no held-out task has a metric in points; what would a contribution be worth?")
        return Compared(gain, task_gains(after, before))

    return Assessor(compare=compare, gradient=partial(write_gradient, evaluator.pool, jobs))


def _in_points(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [outcome for outcome in outcomes if metric_named(outcome.metric).unit == "points"]


def model_digest(base: Path) -> str:
    """Of the weights of a checkpoint directory: equal for equal weight files."""
    parts = [f"{name}:{sha256_of(base / name)}" for name in weight_files(base)]
    return _digest(parts)


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _save(path: Path, made: Arrays) -> None:
    arrays: dict[str, Any] = dict(made)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.savez(file, **arrays)
        partial.replace(path)


def _load(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as kept:
        return {name: kept[name] for name in kept.files}
