import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

from coldfusion.errors import ConfigError, DataError
from coldfusion.seeds import seed_for
from contributors.config import EarlyStopping, ProbeConfig, TrainingConfig
from contributors.data import Examples, load_examples
from contributors.finetuning import finetune, predict
from contributors.models import load_body
from contributors.probing import features, fit_probe, fit_ridge
from tests.tasks import graded, sentences, write_csv

QUICK = TrainingConfig(lr=3e-3, epochs=2, batch_size=8, max_length=16, bf16=False)


@pytest.fixture
def examples(tmp_path: Path) -> Examples:
    rows = list(zip(*sentences(64, seed=1), strict=True))
    return load_examples(write_csv(tmp_path / "x.csv", ["text", "label"], rows))


def weights(body: torch.nn.Module) -> bytes:
    return b"".join(t.detach().numpy().tobytes() for t in body.state_dict().values())


def test_the_defaults_are_the_papers() -> None:
    config = TrainingConfig()
    assert (config.lr, config.epochs, config.batch_size, config.weight_decay) == (5e-5, 10, 256, 0.01)
    stopping = config.early_stopping
    assert (stopping.patience, stopping.every, stopping.gain) == (256_000, 12_800, 0.001)


def test_the_same_seed_gives_the_same_bytes(tiny_base: Path, examples: Examples) -> None:
    one, again, other = (finetune(tiny_base, examples, QUICK, seed=s).classifier.body for s in (1, 1, 2))
    assert weights(one) == weights(again) != weights(other)


def test_training_learns_the_task(tiny_base: Path, examples: Examples) -> None:
    finetuned = finetune(tiny_base, examples, dataclasses.replace(QUICK, epochs=10), seed=0)
    assert (
        predict(finetuned, examples, QUICK).argmax(axis=1) == np.array(examples.rows["label"])
    ).mean() > 0.9
    assert finetuned.num_examples == 64 and finetuned.num_passes == 10 * 64


def test_the_base_on_the_disk_is_not_touched(tiny_base: Path, examples: Examples) -> None:
    before = (tiny_base / "model.safetensors").read_bytes()
    finetune(tiny_base, examples, QUICK, seed=0)
    assert (tiny_base / "model.safetensors").read_bytes() == before


def test_at_most_so_many_examples_are_used(tiny_base: Path, examples: Examples) -> None:
    config = dataclasses.replace(QUICK, max_examples=10)
    assert finetune(tiny_base, examples, config, seed=0).num_examples == 10


def test_progress_counts_examples(tiny_base: Path, examples: Examples) -> None:
    seen: list[tuple[int, int]] = []
    finetune(tiny_base, examples, QUICK, seed=0, report=lambda done, total: seen.append((done, total)))
    assert seen == [(8 * step, 128) for step in range(1, 17)]


def test_training_stops_when_accuracy_no_longer_rises(tiny_base: Path, examples: Examples) -> None:
    never = EarlyStopping(patience=32, every=16, gain=1.1, validation_share=0.25)  # no gain is that large
    config = dataclasses.replace(QUICK, epochs=50, early_stopping=never)
    finetuned = finetune(tiny_base, examples, config, seed=0)
    assert finetuned.num_examples == 48  # a quarter was kept for validation
    assert finetuned.num_passes == 16 + 32  # the first look sets the mark, two more find nothing


def test_a_fast_head_moves_more_than_a_slow_body(tiny_base: Path, examples: Examples) -> None:
    config = dataclasses.replace(QUICK, lr=1e-9, head_lr=1e-2)
    finetuned = finetune(tiny_base, examples, config, seed=0)
    before, after = load_body(tiny_base).state_dict(), finetuned.classifier.body.state_dict()
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    assert finetuned.classifier.head.weight.abs().max() > 0.05


def test_a_head_that_starts_from_a_probe_knows_the_task_before_the_body_moves(
    tiny_base: Path, examples: Examples
) -> None:
    still = dataclasses.replace(QUICK, lr=1e-9, head_start="probe")
    finetuned = finetune(tiny_base, examples, still, seed=0)
    right = predict(finetuned, examples, QUICK).argmax(axis=1) == np.array(examples.rows["label"])
    features_ = features(load_body(tiny_base), finetuned.tokenizer, examples, ProbeConfig(bf16=False))
    fitted = fit_probe(features_, np.array(examples.rows["label"]), num_labels=2, folds=3, seed=0)
    assert right.mean() == (fitted.predict(features_) == examples.rows["label"]).mean() > 0.8


def with_numbers(path: Path, change: Callable[[float], float] = lambda value: value) -> Examples:
    texts, numbers = graded(64, seed=1)
    rows = list(zip(texts, map(change, numbers), strict=True))
    return load_examples(write_csv(path, ["text", "label"], rows))


def test_numbers_are_learned_whatever_their_unit(tiny_base: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(QUICK, epochs=10)
    one = with_numbers(tmp_path / "one.csv")
    other = with_numbers(tmp_path / "other.csv", lambda value: 1000 * value - 300)
    finetuned, again = (finetune(tiny_base, examples, config, seed=0) for examples in (one, other))
    predicted = predict(finetuned, one, config)
    assert predicted.shape == (64, 1)
    assert r2_score(one.labels, predicted[:, 0]) > 0.6
    np.testing.assert_allclose(predict(again, other, config), 1000 * predicted - 300, atol=50)
    body, same = (model.classifier.body.state_dict() for model in (finetuned, again))
    assert all(torch.allclose(body[name], same[name], atol=1e-3) for name in body)


def test_a_head_that_starts_from_a_probe_of_numbers_predicts_what_it_does(
    tiny_base: Path, tmp_path: Path
) -> None:
    examples = with_numbers(tmp_path / "x.csv")
    never = EarlyStopping(patience=32, every=16, gain=1.1, validation_share=0.25)
    still = dataclasses.replace(QUICK, lr=1e-9, epochs=1, head_start="probe", early_stopping=never)
    finetuned = finetune(tiny_base, examples, still, seed=0)  # with looks at a validation split
    training, _ = examples.split(0.25, seed=seed_for(0, "split"))
    config = ProbeConfig(bf16=False)
    found, unseen = (
        features(load_body(tiny_base), finetuned.tokenizer, e, config) for e in (training, examples)
    )
    wanted = fit_ridge(found, training.labels).logits(unseen)
    np.testing.assert_allclose(predict(finetuned, examples, QUICK), wanted, atol=1e-3)


def test_lora_changes_linear_layers_by_its_rank_and_nothing_else(tiny_base: Path, examples: Examples) -> None:
    config = dataclasses.replace(QUICK, lora_rank=2, lr=1e-2, epochs=20)
    before, after = load_body(tiny_base).state_dict(), finetune(tiny_base, examples, config, seed=0)
    changed = {
        n: t - before[n] for n, t in after.classifier.body.state_dict().items() if not t.equal(before[n])
    }
    assert len(changed) == 2 * 6  # two layers of query, key, value, output, intermediate, output
    for name, delta in changed.items():
        assert name.startswith("encoder.layer.") and name.endswith(".weight")
        assert torch.linalg.matrix_rank(delta, rtol=1e-3) <= 2
    assert after.classifier.body.state_dict().keys() == before.keys()
    again = finetune(tiny_base, examples, config, seed=0)
    assert weights(again.classifier.body) == weights(after.classifier.body)
    assert (predict(after, examples, QUICK).argmax(axis=1) == np.array(examples.rows["label"])).mean() > 0.9


def test_training_that_diverges_is_an_error(tiny_base: Path, examples: Examples) -> None:
    with pytest.raises(DataError, match="training diverged to NaN or Inf; try a smaller lr than 1e"):
        finetune(tiny_base, examples, dataclasses.replace(QUICK, lr=1e30, epochs=4), seed=0)


@pytest.mark.parametrize(
    "wrong", [{"pooling": "max"}, {"head_start": "warm"}, {"lr": 0}, {"epochs": -1}, {"batch_size": 0}]
)
def test_a_config_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} '?{next(iter(wrong.values()))}'? is not"):
        TrainingConfig(**wrong)  # type: ignore[arg-type]
