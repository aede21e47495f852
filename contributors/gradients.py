"""The gradient of a base's loss on held-out tasks, by which contributions are told apart at first order.

A probe is fitted on the frozen base; the gradient of its mean loss on the other split with respect to the
body says which way the body should go, the head staying what it is. Every task weighs the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from safetensors.numpy import save_file
from transformers import PreTrainedTokenizerBase

from coldfusion.checkpoint import Checkpoint
from coldfusion.dtypes import Array
from coldfusion.errors import RoundError, writing
from contributors.config import ProbeConfig
from contributors.data import load_task
from contributors.devices import device
from contributors.encoding import BATCH_TOKENS, batches_by_length, encode
from contributors.models import Classifier
from contributors.pool import Pool
from contributors.probing import probe
from contributors.reporting import Report
from contributors.scoring import ScoreJob

Gradient = dict[str, NDArray[np.float32]]


def write_gradient(pool: Pool, jobs: Sequence[ScoreJob], base: Path, into: Path) -> None:
    """Write the mean over the jobs' tasks as safetensors: F32, a tensor for each of the base's body.

    Raises RoundError where a task cannot be worked on, StorageError where the disk refuses.
    """
    order = {job.label: i for i, job in enumerate(jobs)}
    waiting: dict[int, Gradient] = {}
    total: dict[str, Array] = {}
    done = 0
    for job, found in pool.run(gradient, base, jobs, lambda job, done, total: None):
        if isinstance(found, Exception):
            raise RoundError(f"cannot take the gradient on {job.task.name}: {found}") from found
        waiting[order[job.label]] = found
        while done in waiting:  # always in the order of the jobs: their order of arrival is chance
            for name, values in waiting.pop(done).items():
                total[name] = total[name] + values if name in total else values.astype(np.float64)
            done += 1
    with Checkpoint(base) as checkpoint:
        shapes = {name: info.shape for name, info in checkpoint.body.items()}
    # A tensor of the body that no gradient reaches, such as a buffer, has none.
    mean = {
        name: np.asarray(total[name] / len(jobs) if name in total else np.zeros(shape), np.float32)
        for name, shape in shapes.items()
    }
    with writing(into):
        save_file(mean, into)


def gradient(base: Path, job: ScoreJob, report: Report) -> Gradient:
    """Of one task: by the body's names, in the body's shapes."""
    settings = job.settings
    assert isinstance(settings, ProbeConfig)  # a probe is what there is a gradient of
    train, held_back = load_task(job.task.train, job.task.test)
    train = train.sample(settings.max_examples, seed=job.own_seed)
    probed = probe(base, train, settings, seed=job.own_seed)  # the very head that the base is scored with
    classifier = Classifier(
        probed.body,
        num_labels=train.num_labels,
        pooling=settings.pooling,
        dropout=0.0,
        seed=job.own_seed,
        scale=train.scale,
    )
    classifier.set_head(torch.from_numpy(probed.head.weight), torch.from_numpy(probed.head.bias))
    rows = encode(held_back, probed.tokenizer, max_length=settings.max_length)
    return gradient_of(classifier, rows, probed.tokenizer, report)


def gradient_of(
    classifier: Classifier, rows: Dataset, tokenizer: PreTrainedTokenizerBase, report: Report
) -> Gradient:
    """Of the mean loss on tokenised rows with respect to the classifier's body, by its parameters' names."""
    classifier.to(device()).eval()
    labels, seen = torch.tensor(rows["labels"][:]), 0
    for positions, batch in batches_by_length(rows, tokenizer, tokens=BATCH_TOKENS[device().type]):
        batch["labels"] = labels[positions]
        inputs = {name: tensor.to(device()) for name, tensor in batch.items()}
        loss = classifier(**inputs)["loss"] * (len(positions) / len(labels))
        loss.backward()
        seen += len(positions)
        report(seen, len(labels))
    return {
        name: parameter.grad.float().cpu().numpy()
        for name, parameter in classifier.body.named_parameters()
        if parameter.grad is not None
    }
