"""Scores of causal language models by EleutherAI's lm-eval, document by document, so that bases are paired.

A job is one name of lm-eval's: a task, or a group or tag with all its tasks, for which a base is loaded once.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from coldfusion.dtypes import Float64
from coldfusion.errors import ConfigError, DataError
from coldfusion.scores import Outcome
from contributors.config import LmEvalConfig
from contributors.devices import device
from contributors.jobs import Arrays, Scored
from contributors.lmtasks import SEED, check_installed, digest_of, load_lm_tasks, metrics_of
from contributors.models import check_causal
from contributors.reporting import Report

LM_EVAL = "lm-eval"
"""What the protocol is called among scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LmJob:
    """All scores of the tasks that one name stands for: a `Job`."""

    name: str
    metrics: tuple[tuple[str, str], ...]  # (task, its metric as `metric,filter`)
    digest: str
    config: LmEvalConfig

    @property
    def label(self) -> str:
        return f"{self.name} ({LM_EVAL})"

    @property
    def key(self) -> tuple[str, ...]:
        # What else the config says is in the digest, or chooses among what is kept.
        return self.digest, self.name, LM_EVAL, f"{self.config.batch_size} {self.config.dtype}"

    def take(self, base: Path, report: Report) -> Scored:
        """Raises BaseError where the base is no causal language model."""
        check_causal(str(base))
        started = time.time()
        samples = _samples(base, load_lm_tasks(self.name, self.config), self.config)
        kept = {
            f"{task},{metric}": values
            for task, found in samples.items()
            for metric, values in by_document(found).items()
        }
        documents = sum(len({sample["doc_id"] for sample in found}) for found in samples.values())
        return Scored(kept, (started, time.time()), documents)

    def outcomes(self, kept: Arrays) -> list[Outcome]:
        return [_outcome(task, metric, kept.get(f"{task},{metric}")) for task, metric in self.metrics]


def lm_jobs(config: LmEvalConfig) -> tuple[LmJob, ...]:
    """A job for every name, its tasks loaded and found good. Raises ConfigError and DataError."""
    check_installed()
    made, seen = [], set[str]()
    for name in dict.fromkeys(config.tasks):
        tasks = load_lm_tasks(name, config)
        if twice := sorted(seen & tasks.keys()):
            raise ConfigError(f"lm_eval: task {twice[0]!r} is named twice, once by {name!r}; name it once")
        seen |= tasks.keys()
        metrics = [(key, metric) for key, task in tasks.items() for metric in metrics_of(key, task, config)]
        digest = digest_of(tasks, config)
        made.append(LmJob(name=name, metrics=tuple(metrics), digest=digest, config=config))
    return tuple(made)


def by_document(samples: Sequence[Mapping[str, Any]]) -> dict[str, Float64]:
    """`metric,filter` -> (documents,): what lm-eval logged of one task, in the documents' order.

    Without what is no number: metrics that are computed over all documents log what they need for that.
    """
    columns: dict[str, list[Any]] = {}
    for sample in sorted(samples, key=lambda sample: int(sample["doc_id"])):
        for metric in sample["metrics"]:
            columns.setdefault(f"{metric},{sample['filter']}", []).append(sample[metric])
    numbers = (bool, int, float, np.number, np.bool_)
    return {
        name: np.array(values, np.float64)
        for name, values in columns.items()
        if all(isinstance(value, numbers) for value in values)
    }


def _samples(base: Path, tasks: Mapping[str, Any], config: LmEvalConfig) -> dict[str, list[dict[str, Any]]]:
    """What the checkpoint directory made of every document, by task, as lm-eval logs it."""
    # Not its `simple_evaluate`, which lists all packages of the machine after every run.
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM
    from transformers import set_seed

    set_seed(SEED)  # of tasks that sample what they generate
    where, size = str(device()), config.batch_size
    wanted = {"tasks": dict(tasks)}
    with redirect_stderr(io.StringIO()):  # it draws bars of its own
        model = HFLM(pretrained=str(base), dtype=config.dtype, batch_size=size, device=where)
        found = evaluate(model, wanted, limit=config.limit, bootstrap_iters=0, log_samples=True)
    samples: dict[str, list[dict[str, Any]]] = found["samples"]
    return samples


def _outcome(task: str, metric: str, values: Any) -> Outcome:
    if values is None or not ((values >= 0) & (values <= 1)).all():
        raise DataError(
            f"lm_eval: task {task!r}: {metric} is not within 0 and 1 for every document; "
            "name another one under lm_eval.metrics"
        )
    return Outcome(
        task=f"{task} ({metric.removesuffix(',none')})",
        held_out=True,
        protocol=LM_EVAL,
        seed=0,
        metric="credit",
        truth=np.ones(len(values)),
        predicted=values,
    )
