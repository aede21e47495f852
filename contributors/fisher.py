"""The diagonal of the Fisher information: how much a contributor's loss hangs on each parameter of the body.

Shipped beside a delta, it is what the fuser `fisher` weighs by (Matena and Raffel 2022). It is the empirical
one, at the labels of the data, where the paper takes the expectation over the model's own labels: that
costs a backward pass per class instead of one per example.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from coldfusion.checkpoint import Checkpoint
from coldfusion.errors import TensorMismatch
from coldfusion.tensorfile import TensorInfo
from coldfusion.tensorwriter import TensorWriter
from contributors.config import TrainingConfig
from contributors.data import Examples
from contributors.devices import device
from contributors.encoding import batches_by_length, encode
from contributors.finetuning import Finetuned

Diagonal = dict[str, NDArray[np.float32]]


def fisher_diagonal(finetuned: Finetuned, examples: Examples, config: TrainingConfig) -> Diagonal:
    """mean over the examples of (d log p(label | text) / d parameter)^2, by the parameter's name in the body.

    fp32, of the parameters' shapes, 0 for one that has no part in the result. Without dropout, one example at
    a time: the square of a batch's gradient is not the sum of the squares.
    """
    rows = encode(examples, finetuned.tokenizer, max_length=config.max_length)
    labels, where = rows["labels"][:], device()
    classifier = finetuned.classifier.to(where).eval()
    body = dict(classifier.body.named_parameters())
    with _all_trained(body.values()):
        squares = {name: torch.zeros_like(parameter, dtype=torch.float32) for name, parameter in body.items()}
        for (position,), batch in batches_by_length(rows, finetuned.tokenizer, tokens=1):
            inputs = {name: tensor.to(where) for name, tensor in batch.items()}
            label = torch.tensor([labels[position]], device=where)
            loss = classifier(**inputs, labels=label)["loss"]  # minus the log likelihood
            gradients = torch.autograd.grad(loss, list(body.values()), allow_unused=True)
            for total, gradient in zip(squares.values(), gradients, strict=True):
                if gradient is not None:
                    total.addcmul_(gradient.float(), gradient.float(), value=1 / len(rows))
    return {name: total.cpu().numpy() for name, total in squares.items()}


def write_fisher(base: Checkpoint, diagonal: Mapping[str, NDArray[np.float32]], path: Path) -> None:
    """Write the diagonal as safetensors, F32, with the names and shapes of a delta from `base`.

    0 for a tensor of the base that is not trained. Raises TensorMismatch where a shape differs.
    """
    stored = [TensorInfo(info.name, "F32", info.shape) for info in base.body.values()]
    with TensorWriter(path, stored, {}) as out:
        for info in stored:
            values = diagonal.get(info.name, np.zeros(info.shape, np.float32))
            if values.shape != info.shape:
                raise TensorMismatch(f"{info.name}: {list(values.shape)}, the base has {list(info.shape)}")
            out.write(info.name, 0, values.reshape(-1))


@contextmanager
def _all_trained(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Gradients for all of them inside: LoRA leaves a body frozen."""
    before = [(parameter, parameter.requires_grad) for parameter in parameters]
    try:
        for parameter, _ in before:
            parameter.requires_grad_(True)
        yield
    finally:
        for parameter, trained in before:
            parameter.requires_grad_(trained)
