"""From texts to batches: tokenise once, then group by length so that little is spent on padding."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from datasets import Dataset
from torch import Tensor
from transformers import BatchEncoding, PreTrainedTokenizerBase

from contributors.data import Examples

BATCH_TOKENS = 4096
"""In a batch that only passes forward."""


def encode(examples: Examples, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> Dataset:
    """The examples as the model's inputs and `labels`; pairs as the tokenizer's own pair encoding."""

    def tokenise(batch: dict[str, list[str]]) -> BatchEncoding:
        encoded: BatchEncoding = tokenizer(
            batch["text"], batch.get("text_pair"), truncation=True, max_length=max_length
        )
        return encoded

    texts = [name for name in ("text", "text_pair") if name in examples.rows.column_names]
    encoded = examples.rows.map(tokenise, batched=True, remove_columns=texts, keep_in_memory=True)
    return encoded.rename_column("label", "labels")


def batches_by_length(
    rows: Dataset, tokenizer: PreTrainedTokenizerBase, *, tokens: int
) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """(positions of the rows, padded inputs) of batches of about so many tokens each, longest rows first."""
    inputs = {name: rows[name] for name in tokenizer.model_input_names if name in rows.column_names}
    lengths = [len(ids) for ids in inputs["input_ids"]]
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    start = 0
    while start < len(order):
        size = max(1, tokens // lengths[order[start]])
        chosen = order[start : start + size]
        batch = tokenizer.pad({name: [column[i] for i in chosen] for name, column in inputs.items()})
        yield chosen, {name: torch.as_tensor(values) for name, values in batch.items()}
        start += size
