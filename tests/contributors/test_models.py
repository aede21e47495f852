from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertModel,
    GPT2Config,
    GPT2Model,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5EncoderModel,
)

from coldfusion.checkpoint import Checkpoint
from coldfusion.errors import BaseError
from contributors.config import POOLING_NAMES
from contributors.models import (
    POOLINGS,
    Classifier,
    load_body,
    load_tokenizer,
    prepare_base,
    set_dropout,
    tensor_reader,
)

SMALL = {
    "vocab_size": 300,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
}


def with_tokenizer(model: torch.nn.Module, tiny_base: Path, folder: Path) -> str:
    model.save_pretrained(folder)  # type: ignore[operator]
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(folder)
    return str(folder)


def test_poolings_by_hand() -> None:
    assert tuple(POOLINGS) == POOLING_NAMES
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [100.0, 100.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert POOLINGS["mean"](hidden, mask).tolist() == [[2.0, 4.0]]
    assert POOLINGS["cls"](hidden, mask).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    "model",
    [
        lambda: BertForMaskedLM(BertConfig(**SMALL)),
        lambda: RobertaForSequenceClassification(RobertaConfig(**SMALL, num_labels=3)),
        lambda: DistilBertModel(DistilBertConfig(vocab_size=300, dim=8, n_layers=1, n_heads=2, hidden_dim=8)),
    ],
    ids=["bert with a language model head", "roberta with a classifier", "distilbert"],
)
def test_a_base_is_the_body_without_any_head(model: object, tiny_base: Path, tmp_path: Path) -> None:
    source = with_tokenizer(model(), tiny_base, tmp_path / "source")  # type: ignore[operator]
    prepare_base(source, tmp_path / "base")
    with Checkpoint(tmp_path / "base") as checkpoint:
        assert set(checkpoint.body) == set(AutoModel.from_pretrained(tmp_path / "base").state_dict())
        assert not any(name.startswith(("cls.", "classifier", "lm_head")) for name in checkpoint.body)
    assert load_tokenizer(tmp_path / "base")("the soup")["input_ids"]


def test_half_precision_is_widened_for_a_base(tiny_base: Path, tmp_path: Path) -> None:
    source = with_tokenizer(load_body(tiny_base).to(torch.bfloat16), tiny_base, tmp_path / "source")
    prepare_base(source, tmp_path / "base")
    with Checkpoint(tmp_path / "base") as checkpoint:
        assert {info.dtype for info in checkpoint.body.values()} == {"F32"}


@pytest.mark.parametrize(
    "model, kind",
    [
        (lambda: GPT2Model(GPT2Config(vocab_size=300, n_embd=8, n_layer=1, n_head=2)), "gpt2"),
        (
            lambda: T5EncoderModel(T5Config(vocab_size=300, d_model=8, num_layers=1, num_heads=2, d_ff=8)),
            "t5",
        ),
    ],
    ids=["gpt2", "t5"],
)
def test_a_base_that_is_no_encoder_is_refused(
    model: object, kind: str, tiny_base: Path, tmp_path: Path
) -> None:
    source = with_tokenizer(model(), tiny_base, tmp_path / "source")  # type: ignore[operator]
    with pytest.raises(BaseError, match=f"source: {kind} is not an encoder"):
        prepare_base(source, tmp_path / "base")
    assert not (tmp_path / "base").exists()


def test_a_base_that_is_not_there_is_named(tmp_path: Path) -> None:
    for source in (str(tmp_path / "nowhere"), "lab/model"):
        with pytest.raises(BaseError, match=f"{source}: no model can be had"):
            prepare_base(source, tmp_path / "base")


def test_a_base_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    BertForMaskedLM(BertConfig(**SMALL)).save_pretrained(tmp_path / "source")
    with pytest.raises(BaseError, match="source: has no tokenizer beside the model"):
        prepare_base(str(tmp_path / "source"), tmp_path / "base")


def test_a_head_depends_on_its_seed_and_never_on_the_moment(tiny_base: Path) -> None:
    body = load_body(tiny_base)
    settings = {"num_labels": 3, "pooling": "mean", "dropout": 0.0}
    one, again, other = (Classifier(body, seed=seed, **settings).head.weight for seed in (1, 1, 2))  # type: ignore[arg-type]
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_without_dropout_training_mode_changes_nothing(tiny_base: Path) -> None:
    body, inputs = load_body(tiny_base), load_tokenizer(tiny_base)("the soup was warm", return_tensors="pt")
    quiet = body.eval()(**inputs).last_hidden_state
    assert not torch.equal(body.train()(**inputs).last_hidden_state, quiet)
    set_dropout(body, 0.0)
    assert torch.equal(body.train()(**inputs).last_hidden_state, quiet)


def test_the_loss_is_the_cross_entropy_of_the_logits(tiny_base: Path) -> None:
    classifier = Classifier(load_body(tiny_base), num_labels=2, pooling="mean", dropout=0.0, seed=0)
    torch.nn.init.zeros_(classifier.head.weight)
    inputs = dict(load_tokenizer(tiny_base)(["the soup", "a long winter"], padding=True, return_tensors="pt"))
    out = classifier(labels=torch.tensor([0, 1]), **inputs)
    assert out["loss"].item() == pytest.approx(0.6931, abs=1e-4)  # ln 2: it knows nothing yet
    assert "loss" not in classifier(**inputs)


def test_tensors_are_read_under_the_names_of_the_checkpoint(tiny_base: Path) -> None:
    read = tensor_reader(load_body(tiny_base))
    with Checkpoint(tiny_base) as checkpoint:
        for name, info in checkpoint.body.items():
            assert read(name).shape == info.shape
            assert (read(name).reshape(-1) == checkpoint.read(name)).all()
