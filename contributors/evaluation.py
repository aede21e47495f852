"""Scoring bases on tasks: on a pool, nothing computed twice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

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
from contributors.pool import Pool
from contributors.scoring import Predictions, Protocol, Scored, ScoreJob, jobs_of, score
from contributors.tasks import Task, validation_of

VERSION = "2"
"""Of how scores are taken. Raised when that changes, or what was kept from before would be taken for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluator:
    """Scores bases. What they predicted is kept below `cache`, by everything that it depends on."""

    pool: Pool
    cache: Path
    on_progress: Callable[[ScoreJob, int, int], None] = lambda job, done, total: None
    on_scored: Callable[[ScoreJob, Scored], None] = lambda job, scored: None

    def missing(self, base: Path, jobs: Sequence[ScoreJob]) -> list[ScoreJob]:
        """Those of the jobs that were not done for this base yet."""
        return self._missing(model_digest(base), jobs)

    def evaluate(self, base: Path, jobs: Sequence[ScoreJob], others: Mapping[str, Path]) -> Evaluation:
        """The scores of one base, with its gains on others: "pretrained" or "previous" -> directory."""
        found = self.outcomes(base, jobs)
        return evaluation_of(found, {name: self.outcomes(other, jobs) for name, other in others.items()})

    def outcomes(self, base: Path, jobs: Sequence[ScoreJob]) -> list[Outcome]:
        """What the checkpoint directory `base` made of every job, by each of its task's metrics."""
        model = model_digest(base)
        for job, result in self._run(base, self._missing(model, jobs)):
            _save(self._place(model, job), result.predictions)
            self.on_scored(job, result)
        found = [(job, _load(self._place(model, job))) for job in jobs]
        return [made.outcome(job, metric) for job, made in found for metric in job.task.metrics]

    def _missing(self, model: str, jobs: Sequence[ScoreJob]) -> list[ScoreJob]:
        return [job for job in jobs if not self._place(model, job).exists()]

    def _run(self, base: Path, jobs: Sequence[ScoreJob]) -> Iterator[tuple[ScoreJob, Scored]]:
        if not jobs:
            return
        for job, result in self.pool.run(score, base, jobs, self.on_progress):
            if isinstance(result, Exception):
                raise RoundError(f"cannot score {job.task.name}: {result}") from result
            yield job, result

    def _place(self, model: str, job: ScoreJob) -> Path:
        parts = [VERSION, model, job.task.digest, job.task.name, job.protocol, str(job.seed)]
        parts.append(repr(job.settings))
        return self.cache / f"{_digest(parts)}.npz"


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


def _save(path: Path, made: Predictions) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.savez(file, **{field.name: getattr(made, field.name) for field in fields(made)})
        partial.replace(path)


def _load(path: Path) -> Predictions:
    with np.load(path, allow_pickle=False) as kept:
        return Predictions(**{field.name: kept[field.name] for field in fields(Predictions)})
