from pathlib import Path

import numpy as np
import pytest
import torch

from contributors.data import Examples, load_examples
from contributors.encoding import BATCH_TOKENS, batches_by_length, encode, pass_forward
from contributors.models import load_tokenizer
from tests.tasks import write_csv


@pytest.fixture
def soups(tmp_path: Path) -> Examples:
    """Of 1, 9, 2, 8 and 3 words."""
    rows = [("soup " * n, n % 2) for n in (1, 9, 2, 8, 3)]
    return load_examples(write_csv(tmp_path / "x.csv", ["text", "label"], rows))


def test_batches_hold_rows_of_like_length_and_every_row_once(tiny_base: Path, soups: Examples) -> None:
    tokenizer = load_tokenizer(tiny_base)
    encoded = encode(soups, tokenizer, max_length=8)
    batches = [
        (rows, batch["input_ids"].shape) for rows, batch in batches_by_length(encoded, tokenizer, tokens=16)
    ]
    # Lengths with [CLS] and [SEP], cut at 8: 3, 8, 4, 8, 5.
    assert batches == [([1, 3], (2, 8)), ([4, 2, 0], (3, 5))]


@pytest.mark.parametrize("tokens", [1, 16])
def test_what_passes_forward_comes_back_in_the_order_of_the_rows(
    tiny_base: Path, soups: Examples, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BATCH_TOKENS, "cpu", tokens)
    monkeypatch.setitem(BATCH_TOKENS, "cuda", tokens)
    tokenizer = load_tokenizer(tiny_base)

    def lengths(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return inputs["attention_mask"].sum(dim=1, keepdim=True)

    rows = encode(soups, tokenizer, max_length=8)
    found = pass_forward(lengths, rows, tokenizer, width=1, bf16=False)
    np.testing.assert_array_equal(found[:, 0], [3, 8, 4, 8, 5])
