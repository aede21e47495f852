"""Scoring a base on tasks.

Probe score and fine-tune score, task by task on a pool, nothing computed twice.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coldfusion.checkpoint import weight_files
from coldfusion.errors import RoundError, writing
from coldfusion.places import sha256_of
from coldfusion.records import Evaluation
from coldfusion.scores import Outcome, evaluation_of
from coldfusion.seeds import seed_for
from contributors.config import ProbeConfig, TrainingConfig
from contributors.data import load_task
from contributors.finetuning import finetune, predict
from contributors.models import load_body, load_tokenizer
from contributors.pool import Pool
from contributors.probing import features, fit_probe
from contributors.reporting import Report

PROBE = "probe"
FINE_TUNE = "fine-tune"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task that bases are scored on."""

    name: str
    train: str  # see contributors.data.load_examples
    test: str
    held_out: bool
    digest: str  # of the texts and labels of both splits
    characters: int  # in the training texts: about how much work the task is


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreJob:
    """One score to be computed."""

    task: Task
    protocol: str
    seed: int
    probe: ProbeConfig
    training: TrainingConfig

    @property
    def label(self) -> str:
        """What a person calls it."""
        return f"{self.task.name} ({self.protocol}, seed {self.seed})"


@dataclass(frozen=True, slots=True)
class Scored:
    """What came of a job, and when the base was at work for it (seconds since the epoch)."""

    outcome: Outcome
    interval: tuple[float, float]
    num_examples: int


def check_task(name: str, train: str, test: str, *, held_out: bool) -> Task:
    """The task, once its data was read and found good. Raises DataError."""
    splits = load_task(train, test)
    digest = hashlib.sha256("".join(split.digest for split in splits).encode()).hexdigest()
    return Task(
        name=name,
        train=train,
        test=test,
        held_out=held_out,
        digest=digest,
        characters=splits[0].characters,
    )


def score(base: Path, job: ScoreJob, report: Report) -> Scored:
    """Score the checkpoint directory `base` on one task."""
    train, test = load_task(job.task.train, job.task.test)
    labels = np.array(test.rows["label"])
    seed = seed_for(job.seed, job.protocol, job.task.name)
    started = time.time()
    if job.protocol == PROBE:
        train = train.sample(job.probe.max_examples, seed=seed)
        body, tokenizer = load_body(base), load_tokenizer(base)
        train_features, test_features = (features(body, tokenizer, e, job.probe) for e in (train, test))
        fitted = fit_probe(
            train_features,
            np.array(train.rows["label"]),
            num_labels=train.num_labels,
            folds=job.probe.folds,
            seed=seed,
        )
        predicted = fitted.predict(test_features)
    else:
        finetuned = finetune(base, train, job.training, seed=seed, report=report)
        predicted = predict(finetuned, test, job.training)
    outcome = Outcome(
        task=job.task.name,
        held_out=job.task.held_out,
        protocol=job.protocol,
        seed=job.seed,
        correct=predicted == labels,
    )
    return Scored(outcome, (started, time.time()), len(train.rows) + len(test.rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluator:
    """Scores bases against the pretrained model. Outcomes are kept below `cache`, by what they depend on."""

    pool: Pool
    tasks: Sequence[Task]
    seeds: Mapping[str, Sequence[int]]  # protocol -> seeds
    probe: ProbeConfig
    training: TrainingConfig  # of the fine-tune score
    cache: Path
    pretrained: Path  # checkpoint directory
    on_progress: Callable[[ScoreJob, int, int], None]
    on_scored: Callable[[ScoreJob, Scored], None]

    def jobs(self, protocols: Sequence[str]) -> list[ScoreJob]:
        """Every score that there is to take.

        The fine-tune score is for held-out tasks alone: is the base a better start for somebody new? Large
        tasks come first, so that workers do not wait for one another at the end.
        """
        tasks = sorted(self.tasks, key=lambda task: -task.characters)
        return [
            ScoreJob(task=task, protocol=protocol, seed=seed, probe=self.probe, training=self.training)
            for protocol in protocols
            for task in tasks
            for seed in self.seeds[protocol]
            if protocol == PROBE or task.held_out
        ]

    def missing(self, base: Path, jobs: Sequence[ScoreJob]) -> list[ScoreJob]:
        """Those of the jobs that were not done for this base yet."""
        model = model_digest(base)
        return [job for job in jobs if not self._place(model, job).exists()]

    def evaluate(self, base: Path, jobs: Sequence[ScoreJob]) -> Evaluation:
        """The scores of one base, with its gains on the pretrained model."""
        return evaluation_of(self._outcomes(base, jobs), self._outcomes(self.pretrained, jobs))

    def _outcomes(self, base: Path, jobs: Sequence[ScoreJob]) -> list[Outcome]:
        model = model_digest(base)
        for job, result in self._run(base, self.missing(base, jobs)):
            _save(self._place(model, job), result.outcome)
            self.on_scored(job, result)
        return [_load(self._place(model, job), job) for job in jobs]

    def _run(self, base: Path, jobs: Sequence[ScoreJob]) -> Iterator[tuple[ScoreJob, Scored]]:
        if not jobs:
            return
        for job, result in self.pool.run(score, base, jobs, self.on_progress):
            if isinstance(result, Exception):
                raise RoundError(f"cannot score {job.task.name}: {result}") from result
            yield job, result

    def _place(self, model: str, job: ScoreJob) -> Path:
        settings = job.probe if job.protocol == PROBE else job.training
        key = "\n".join([model, job.task.digest, job.task.name, job.protocol, str(job.seed), repr(settings)])
        return self.cache / f"{hashlib.sha256(key.encode()).hexdigest()}.npy"


def model_digest(base: Path) -> str:
    """Of the weights of a checkpoint directory: equal for equal weight files."""
    parts = [f"{name}:{sha256_of(base / name)}" for name in weight_files(base)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _save(path: Path, outcome: Outcome) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.save(file, outcome.correct)
        partial.replace(path)


def _load(path: Path, job: ScoreJob) -> Outcome:
    return Outcome(
        task=job.task.name,
        held_out=job.task.held_out,
        protocol=job.protocol,
        seed=job.seed,
        correct=np.load(path, allow_pickle=False),
    )
