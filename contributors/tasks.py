"""Tasks that bases are scored on: where their splits are, by what metrics, and what they hold, by digest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from coldfusion.errors import ConfigError
from coldfusion.heldout import Hashes
from coldfusion.metrics import METRICS, metric_named
from contributors.data import Examples, Split, load_task
from contributors.likeness import among, distinct, whole_hashes


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task that bases are scored on."""

    name: str
    train: Split
    test: Split
    held_out: bool  # nobody ever contributes it
    digest: str  # of the texts and labels of both splits
    characters: int  # in the training texts: about how much work the task is
    metrics: tuple[str, ...] = ("accuracy",)
    train_texts: Hashes = field(repr=False, compare=False)  # hashes of the training split's texts, one each
    all_texts: Hashes = field(repr=False, compare=False)  # of those of both splits, sorted

    def shared_with(self, other: Task) -> int:
        """How many of this task's training texts are texts of another."""
        return int(among(self.train_texts, other.all_texts).sum())


def validation_of(task: Task) -> Task:
    """The same task with a part of its training split in the place of the test split, which stays unseen."""
    return replace(
        task,
        train=replace(task.train, part="rest"),
        test=replace(task.train, part="validation"),
        digest=hashlib.sha256(f"validation {task.digest}".encode()).hexdigest(),
    )


def check_task(
    name: str,
    train: str | Split,
    test: str | Split,
    *,
    held_out: bool,
    metrics: Sequence[str] = (),
) -> Task:
    """The task, once its data was read and found good. Raises DataError, or ConfigError for a metric.

    metrics: none named is accuracy, or spearman where labels are numbers.
    """
    train, test = (split if isinstance(split, Split) else Split(split) for split in (train, test))
    splits = load_task(train, test)
    metrics = _fitting(name, metrics, splits[0])
    digest = hashlib.sha256("".join(split.digest for split in splits).encode()).hexdigest()
    texts = [whole_hashes(split.texts, b"") for split in splits]
    return Task(
        name=name,
        train=train,
        test=test,
        held_out=held_out,
        digest=digest,
        characters=splits[0].characters,
        metrics=metrics,
        train_texts=texts[0],
        all_texts=distinct(np.concatenate(texts)),
    )


def _fitting(name: str, metrics: Sequence[str], examples: Examples) -> tuple[str, ...]:
    """The metrics, or the usual one. Raises ConfigError where one is not of labels of this kind."""
    numbers = examples.scale is not None
    kinds = ("values", "losses") if numbers else ("labels", "values", "losses")
    if odd := [metric for metric in metrics if metric_named(metric).takes not in kinds]:
        have = f"numbers like {examples.labels[0]:g}" if numbers else "classes"
        use = ", ".join(metric.name for metric in METRICS.values() if metric.takes in kinds)
        raise ConfigError(f"task {name!r}: {odd[0]} is not of its labels, which are {have}; use one of {use}")
    return tuple(metrics) or ("spearman" if numbers else "accuracy",)
