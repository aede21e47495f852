from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.preprocessing import StandardScaler

from coldfusion.errors import ConfigError
from contributors.config import ProbeConfig
from contributors.data import load_examples
from contributors.models import load_body, load_tokenizer
from contributors.probing import PENALTIES, STRENGTHS, features, fit_probe, fit_ridge
from tests.tasks import sentences, write_csv


def test_features_are_the_pooled_hidden_state_in_the_order_of_the_rows(
    tiny_base: Path, tmp_path: Path
) -> None:
    texts = ["the soup was quite warm", "dull", "a long winter felt cold and cold and cold"]
    rows = [(text, i % 2) for i, text in enumerate(texts)]
    examples = load_examples(write_csv(tmp_path / "x.csv", ["text", "label"], rows))
    body, tokenizer = load_body(tiny_base), load_tokenizer(tiny_base)
    found = features(body, tokenizer, examples, ProbeConfig(bf16=False))
    for text, row in zip(texts, found, strict=True):
        hidden = body.eval()(**tokenizer(text, return_tensors="pt")).last_hidden_state
        np.testing.assert_allclose(row, hidden[0].mean(dim=0).detach().numpy(), atol=1e-5)


def test_a_probe_finds_what_is_linear() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5)).astype(np.float32)
    labels = (x @ np.array([1.0, -2.0, 0.0, 0.5, 0.0]) > 0).astype(np.int64)
    fitted = fit_probe(x[:200], labels[:200], num_labels=2, folds=3, seed=0)
    assert (fitted.predict(x[200:]) == labels[200:]).mean() > 0.93


@pytest.mark.parametrize("num_labels", [2, 3])
def test_a_probe_is_scikit_learns_logistic_regression_on_standardised_features(num_labels: int) -> None:
    rng = np.random.default_rng(num_labels)
    x = (rng.normal(size=(90, 4)) * [1, 10, 0.1, 3] + [5, 0, 0, -1]).astype(np.float32)
    labels = (np.arange(90) + (x[:, 1] > 0)) % num_labels
    fitted = fit_probe(x, labels, num_labels=num_labels, folds=3, seed=0)
    logits = x @ fitted.weight.T + fitted.bias
    found = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    x = StandardScaler().fit_transform(x)
    # One of the strengths that it chooses from gives the same probabilities.
    wanted = [LogisticRegression(C=c, max_iter=1000).fit(x, labels).predict_proba(x) for c in STRENGTHS]
    assert min(np.abs(found - one).max() for one in wanted) < 1e-3


def test_a_probe_of_numbers_is_scikit_learns_ridge_on_standardised_features() -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(90, 5)) * [1, 10, 0.1, 3, 1e-9] + [5, 0, 0, -1, 0]).astype(np.float32)
    values = 100 + x[:, 1] + rng.normal(size=90)
    fitted = fit_ridge(x, values)
    assert fitted.logits(x).shape == (90, 1) and fitted.weight[0, 4] == 0
    # By plain cross-validation, leaving out one at a time.
    standard, models = StandardScaler().fit_transform(x[:, :4]), [Ridge(90 * p) for p in PENALTIES]
    errors = [
        ((cross_val_predict(m, standard, values, cv=LeaveOneOut()) - values) ** 2).mean() for m in models
    ]
    wanted = models[int(np.argmin(errors))].fit(standard, values).predict(standard)
    np.testing.assert_allclose(fitted.logits(x)[:, 0], wanted, rtol=1e-5)


def test_a_dead_feature_gets_no_weight() -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(60, 4)) * [1, 2, 1e-9, 0]).astype(np.float32)
    fitted = fit_probe(x, np.array(x[:, 0] + x[:, 2] > 0, dtype=np.int64), num_labels=2, folds=3, seed=0)
    assert (fitted.weight[:, 2:] == 0).all() and (fitted.weight[:, 0] != 0).all()


def test_a_probe_gives_the_same_answer_twice() -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(60, 4)).astype(np.float32), rng.integers(3, size=60)
    one, two = (fit_probe(x, labels, num_labels=3, folds=3, seed=7).weight for _ in range(2))
    assert one.tobytes() == two.tobytes()


def test_a_class_with_a_single_example_or_none_is_no_obstacle() -> None:
    x = np.eye(6, dtype=np.float32)
    fitted = fit_probe(x, np.array([0, 0, 0, 3, 3, 2]), num_labels=5, folds=3, seed=0)
    assert fitted.weight.shape == (5, 6)
    assert set(fitted.predict(100 * x)) <= {0, 2, 3}


def test_the_probe_score_of_a_base_is_deterministic(tiny_base: Path, tmp_path: Path) -> None:
    rows = list(zip(*sentences(50, seed=3), strict=True))
    examples = load_examples(write_csv(tmp_path / "x.csv", ["text", "label"], rows))
    one, two = (
        features(load_body(tiny_base), load_tokenizer(tiny_base), examples, ProbeConfig()) for _ in range(2)
    )
    assert torch.equal(torch.from_numpy(one), torch.from_numpy(two))


def test_a_config_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="pooling 'max'"):
        ProbeConfig(pooling="max")
    with pytest.raises(ConfigError, match="folds 1"):
        ProbeConfig(folds=1)
