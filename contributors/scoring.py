"""One score of one base: a task, a protocol and a seed in, predictions on the test split out.

    probe       a linear probe on the frozen base's features (see `probing`)
    head        the paper's ColD-Frozen: the head alone is trained, the body frozen, by the Trainer
    few-shot    body and head are trained on a few labelled examples
    fine-tune   body and head are trained on the whole training split
(Don-Yehiya et al. 2023, sections 4.4 and 5.3.)
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coldfusion.dtypes import Float64
from coldfusion.errors import ConfigError
from coldfusion.metrics import metric_named
from coldfusion.scores import Outcome
from coldfusion.seeds import seed_for
from contributors.config import ProbeConfig, TrainingConfig
from contributors.data import Examples, Scale, load_task
from contributors.finetuning import finetune, predict
from contributors.jobs import Arrays, Scored
from contributors.probing import features, probe
from contributors.reporting import Report
from contributors.tasks import Task

PROBE, HEAD, FEW_SHOT, FINE_TUNE = "probe", "head", "few-shot", "fine-tune"
PROTOCOLS = (PROBE, HEAD, FEW_SHOT, FINE_TUNE)


@dataclass(frozen=True, slots=True)
class Protocol:
    """How scores are taken, and with which seeds."""

    name: str
    seeds: tuple[int, ...]
    settings: ProbeConfig | TrainingConfig

    def __post_init__(self) -> None:
        if self.name not in PROTOCOLS:
            raise ConfigError(f"unknown protocol {self.name!r}; known: {', '.join(PROTOCOLS)}")
        if isinstance(self.settings, ProbeConfig) != (self.name == PROBE):
            raise TypeError(f"{self.name} is not taken with a {type(self.settings).__name__}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreJob:
    """One score to be computed: a `Job`."""

    task: Task
    protocol: str
    seed: int
    settings: ProbeConfig | TrainingConfig

    @property
    def label(self) -> str:
        return f"{self.task.name} ({self.protocol}, seed {self.seed})"

    @property
    def key(self) -> tuple[str, ...]:
        return self.task.digest, self.task.name, self.protocol, str(self.seed), repr(self.settings)

    @property
    def own_seed(self) -> int:
        """What this job draws by: the same of two tasks would draw the same places."""
        return seed_for(self.seed, self.protocol, self.task.name)

    def take(self, base: Path, report: Report) -> Scored:
        return score(base, self, report)

    def outcomes(self, kept: Arrays) -> list[Outcome]:
        made = Predictions(**kept)
        return [made.outcome(self, metric) for metric in self.task.metrics]


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a base made of a test split: all that any metric takes, (n,) each."""

    truth: NDArray[np.int64] | Float64  # labels: classes, or numbers
    labels: NDArray[np.int64]  # the most probable classes; none of numbers
    values: Float64  # numbers; or the mean class, each by its probability, where classes have an order
    losses: Float64  # -log of the right label's probability, nats; see `number_predictions` for numbers

    def outcome(self, job: ScoreJob, metric: str) -> Outcome:
        """As one metric takes them."""
        predicted: NDArray[np.generic] = getattr(self, metric_named(metric).takes)
        return Outcome(
            task=job.task.name,
            held_out=job.task.held_out,
            protocol=job.protocol,
            seed=job.seed,
            metric=metric,
            truth=self.truth.astype(np.float64),
            predicted=predicted.astype(np.float64),
        )


def predictions_on(test: Examples, logits: Float64, scale: Scale | None) -> Predictions:
    """Of the logits of a test split; `scale` is that of the training labels."""
    if scale is None:
        return predictions_of(logits, test.labels)
    return number_predictions(logits[:, 0], test.labels, scale)


def predictions_of(logits: Float64, truth: NDArray[np.int64]) -> Predictions:
    """Of the logits (n, labels)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return Predictions(
        truth=truth,
        labels=logits.argmax(axis=1),
        values=np.exp(logs) @ np.arange(logits.shape[1]),
        losses=-logs[np.arange(len(truth)), truth],
    )


def number_predictions(predicted: Float64, truth: Float64, scale: Scale) -> Predictions:
    """Of numbers (n,), predicted and true, in the unit of `scale`.

    A loss is half the squared error over the variance of the training labels: -log of a normal density
    around the prediction that is as wide as the labels are spread, but for its constant. Always guessing the
    labels' mean costs half a nat, whatever their unit.
    """
    none = np.zeros(0, dtype=np.int64)
    losses = ((predicted - truth) / scale.spread) ** 2 / 2
    return Predictions(truth=truth, labels=none, values=predicted, losses=losses)


def score(base: Path, job: ScoreJob, report: Report) -> Scored:
    """Score the checkpoint directory `base` on one task. What is kept are the fields of `Predictions`."""
    train, test = load_task(job.task.train, job.task.test)
    scale = train.scale
    seed = job.own_seed
    started = time.time()
    if isinstance(job.settings, ProbeConfig):
        train = train.sample(job.settings.max_examples, seed=seed)
        probed = probe(base, train, job.settings, seed=seed)
        logits = probed.head.logits(features(probed.body, probed.tokenizer, test, job.settings))
    else:
        settings = replace(job.settings, trained="head") if job.protocol == HEAD else job.settings
        finetuned = finetune(base, train, settings, seed=seed, report=report)
        logits = predict(finetuned, test, settings)
    made = predictions_on(test, logits, scale)
    return Scored(asdict(made), (started, time.time()), len(train.rows) + len(test.rows))


def jobs_of(tasks: Sequence[Task], protocols: Sequence[Protocol]) -> list[ScoreJob]:
    """Every score that there is to take.

    All but the probe score are for held-out tasks alone: is the base a better start for somebody new? Large
    tasks come first, so that workers do not wait for one another at the end.
    """
    return [
        ScoreJob(task=task, protocol=protocol.name, seed=seed, settings=protocol.settings)
        for protocol in protocols
        for task in sorted(tasks, key=lambda task: -task.characters)
        for seed in protocol.seeds
        if protocol.name == PROBE or task.held_out
    ]
