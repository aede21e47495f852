import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from coldfusion.checkpoint import Checkpoint
from coldfusion.errors import TensorMismatch
from coldfusion.tensorfile import TensorFile
from contributors.config import TrainingConfig
from contributors.data import Examples, load_examples
from contributors.encoding import encode
from contributors.finetuning import Finetuned, finetune
from contributors.fisher import fisher_diagonal, write_fisher
from contributors.models import Classifier, load_tokenizer
from tests.tasks import sentences, write_csv

QUICK = TrainingConfig(lr=3e-3, epochs=1, batch_size=8, max_length=16, bf16=False)


@pytest.fixture
def examples(tmp_path: Path) -> Examples:
    rows = list(zip(*sentences(6, seed=1), strict=True))
    return load_examples(write_csv(tmp_path / "x.csv", ["text", "label"], rows))


class OneNumber(torch.nn.Module):
    """A body of one parameter w, whose hidden state is w for every token, and one that is idle."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor(0.5))
        self.idle = torch.nn.Parameter(torch.ones(2))
        self.config = type("Config", (), {"hidden_size": 1})()

    def forward(self, input_ids: torch.Tensor, **_: torch.Tensor) -> object:
        hidden = self.w.expand(*input_ids.shape, 1)
        return type("Output", (), {"last_hidden_state": hidden})()


def test_by_hand(tiny_base: Path, examples: Examples) -> None:
    classifier = Classifier(OneNumber(), num_labels=2, pooling="mean", dropout=0.5, seed=0)
    with torch.no_grad():
        classifier.head.weight.copy_(torch.tensor([[0.0], [2.0]]))
    finetuned = Finetuned(classifier, load_tokenizer(tiny_base), 0, 0, 0.0)
    found = fisher_diagonal(finetuned, examples, QUICK)
    # Logits 0 and 2 w = 1, so p = e / (1 + e) for label 1, and d log p(y) / d w = 2 (y - p).
    p = np.e / (1 + np.e)
    expected = np.mean([4 * (label - p) ** 2 for label in examples.rows["label"]])
    assert found["w"] == pytest.approx(expected, rel=1e-6) and found["w"].dtype == np.float32
    assert found["idle"].tolist() == [0, 0]


def test_it_is_the_mean_of_the_squares_of_every_examples_gradient(
    tiny_base: Path, examples: Examples
) -> None:
    finetuned = finetune(tiny_base, examples, QUICK, seed=0)
    found = fisher_diagonal(finetuned, examples, QUICK)
    classifier, rows = finetuned.classifier.eval(), encode(examples, finetuned.tokenizer, max_length=16)
    name, expected = "encoder.layer.0.attention.self.query.weight", 0
    for row in rows:
        classifier.zero_grad()
        inputs = {key: torch.tensor([row[key]]) for key in ("input_ids", "attention_mask")}
        torch.log_softmax(classifier(**inputs)["logits"], dim=-1)[0, row["labels"]].backward()
        expected += dict(classifier.body.named_parameters())[name].grad.numpy() ** 2 / len(rows)
    np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-12)


def test_a_body_that_lora_left_frozen_has_a_fisher_and_stays_frozen(
    tiny_base: Path, examples: Examples
) -> None:
    finetuned = finetune(tiny_base, examples, dataclasses.replace(QUICK, lora_rank=1), seed=0)
    found = fisher_diagonal(finetuned, examples, QUICK)
    assert found["encoder.layer.1.output.dense.weight"].any()
    assert not any(parameter.requires_grad for parameter in finetuned.classifier.body.parameters())


def test_the_file_has_the_names_and_shapes_of_a_delta(
    tiny_base: Path, examples: Examples, tmp_path: Path
) -> None:
    found = fisher_diagonal(finetune(tiny_base, examples, QUICK, seed=0), examples, QUICK)
    with Checkpoint(tiny_base) as base:
        write_fisher(base, found, tmp_path / "fisher.safetensors")
        with TensorFile(tmp_path / "fisher.safetensors") as file:
            assert {n: i.shape for n, i in file.tensors.items()} == {n: i.shape for n, i in base.body.items()}
            assert {info.dtype for info in file.tensors.values()} == {"F32"}
            name = "embeddings.LayerNorm.weight"
            assert (file.read(name) == found[name]).all() and found[name].any()
        with pytest.raises(TensorMismatch, match=r"embeddings.LayerNorm.weight: \[3\], the base has \[16\]"):
            write_fisher(base, {name: np.zeros(3, np.float32)}, tmp_path / "wrong.safetensors")
