"""From texts to batches, grouped by length so that little is spent on padding, and through a model."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor
from transformers import BatchEncoding, PreTrainedTokenizerBase

from contributors.data import Examples
from contributors.devices import autocast, device, side_by_side

Inputs = dict[str, Tensor]
"""A model's inputs by their names, (rows, tokens) each."""
BATCH_TOKENS = {"cpu": 512, "cuda": 4096}
"""In a batch that only passes forward, by the kind of device.

A core is as quick with 512 tokens as with 4096; where texts are short and few, a third of 4096 is padding.
"""


def encode(examples: Examples, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> Dataset:
    """The examples as the model's inputs and `labels`; pairs as the tokenizer's own pair encoding."""

    def tokenise(batch: dict[str, list[str]]) -> BatchEncoding:
        encoded: BatchEncoding = tokenizer(
            batch["text"], batch.get("text_pair"), truncation=True, max_length=max_length
        )
        return encoded

    texts = [name for name in ("text", "text_pair") if name in examples.rows.column_names]
    encoded = examples.rows.map(
        tokenise,
        batched=True,
        remove_columns=texts,
        keep_in_memory=True,
        new_fingerprint=uuid.uuid4().hex,  # else the whole tokenizer is pickled and hashed for a cache's key
    )
    return encoded.rename_column("label", "labels")


def batches_by_length(
    rows: Dataset, tokenizer: PreTrainedTokenizerBase, *, tokens: int
) -> Iterator[tuple[list[int], Inputs]]:
    """(positions of the rows, padded inputs) of batches of about so many tokens each, longest rows first."""
    # As lists: one value out of a column of a Dataset costs as much as a short text's way through the body.
    inputs = {name: rows[name][:] for name in tokenizer.model_input_names if name in rows.column_names}
    lengths = [len(ids) for ids in inputs["input_ids"]]
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    start = 0
    while start < len(order):
        size = max(1, tokens // lengths[order[start]])
        chosen = order[start : start + size]
        batch = tokenizer.pad({name: [column[i] for i in chosen] for name, column in inputs.items()})
        yield chosen, {name: torch.as_tensor(values) for name, values in batch.items()}
        start += size


def pass_forward(
    model: Callable[[Inputs], Tensor],
    rows: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    *,
    width: int,
    bf16: bool | None,
) -> NDArray[np.float32]:
    """What a model on this process's device makes of every row, (rows, width), without gradients."""
    found, where = np.empty((len(rows), width), dtype=np.float32), device()

    def take(batches: Iterator[tuple[list[int], Inputs]]) -> None:
        with torch.inference_mode(), autocast(bf16):
            for positions, batch in batches:
                made = model({name: tensor.to(where) for name, tensor in batch.items()})
                found[positions] = made.float().cpu().numpy()

    side_by_side(take, batches_by_length(rows, tokenizer, tokens=BATCH_TOKENS[where.type]))
    return found
