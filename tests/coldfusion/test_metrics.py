import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from coldfusion.errors import ConfigError
from coldfusion.metrics import METRICS, metric_named

LABELS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30)
REFERENCE = {
    "accuracy": accuracy_score,
    "macro_f1": lambda truth, said: f1_score(truth, said, average="macro"),
    "matthews": matthews_corrcoef,
}


def scored(name: str, truth: list[float], predicted: list[float], counts: list[float] | None = None) -> float:
    weights = np.array([counts or [1.0] * len(truth)])
    return float(METRICS[name].of(np.array(truth, float), np.array(predicted, float), weights)[0])


@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("accuracy", 75.0),
        ("macro_f1", 100 * (2 / 3 + 4 / 5) / 2),  # F1 of label 0: 2*1/(2+1); of label 1: 2*2/(3+2)
        ("matthews", 100 * 4 / np.sqrt(8 * 6)),  # (3*4 - (2*1+2*3)) / sqrt((16-8) * (16-10)) = 4 / sqrt(48)
    ],
)
def test_four_examples_by_hand(name: str, score: float) -> None:
    assert scored(name, [0, 0, 1, 1], [0, 1, 1, 1]) == pytest.approx(score)


def test_ranks_that_are_reversed_or_shared() -> None:
    assert scored("spearman", [1, 2, 3], [9, 5, 4]) == -100
    assert scored("spearman", [1, 2, 3], [1, 1, 1]) == 0
    # ranks 1.5 1.5 3 and 1 2 3: (0.5 + 0 + 1) / sqrt(1.5 * 2)
    assert scored("spearman", [1, 1, 2], [0, 1, 2]) == pytest.approx(100 * 1.5 / np.sqrt(3))


def test_a_correlation_of_values_by_hand_and_none_where_they_are_constant() -> None:
    # Deviations -1 0 1 and -2 -1 3: (2 + 0 + 3) / sqrt(2 * 14)
    assert scored("pearson", [1, 2, 3], [0, 1, 5]) == pytest.approx(100 * 5 / np.sqrt(28))
    assert scored("pearson", [1, 2, 3], [0.1, 0.1, 0.1]) == 0
    assert scored("pearson", [0.1, 0.1, 0.7], [1, 2, 3], [5, 3, 0]) == 0  # a resample without the third


def test_loss_is_the_mean_and_lower_is_better() -> None:
    assert scored("loss", [0, 1], [0.5, 1.5]) == 1.0 and METRICS["loss"].sign == -1


@pytest.mark.parametrize("name", REFERENCE)
@given(LABELS)
@settings(max_examples=60, deadline=None)
def test_they_are_those_of_scikit_learn(name: str, pairs: list[tuple[int, int]]) -> None:
    truth, said = zip(*pairs, strict=True)
    assume(len({*truth, *said}) > 1)  # of one label it warns
    assert scored(name, list(truth), list(said)) == pytest.approx(100 * REFERENCE[name](truth, said))


@given(LABELS.filter(lambda pairs: all(len(set(side)) > 1 for side in zip(*pairs, strict=True))))
@settings(max_examples=60, deadline=None)
def test_correlations_are_those_of_scipy(pairs: list[tuple[int, int]]) -> None:
    truth, said = (list(map(float, side)) for side in zip(*pairs, strict=True))
    for name, reference in (("spearman", spearmanr), ("pearson", pearsonr)):
        assert scored(name, truth, said) == pytest.approx(100 * reference(truth, said).statistic, abs=1e-9)


@pytest.mark.parametrize("name", METRICS)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 3)), min_size=2, max_size=12))
@settings(max_examples=60, deadline=None)
def test_an_example_that_counts_thrice_is_three_examples(name: str, rows: list[tuple[int, int, int]]) -> None:
    repeated = [(t, p) for t, p, count in rows for _ in range(count)]
    if repeated:
        truth, said, counts = (list(column) for column in zip(*rows, strict=True))
        spelt_out = scored(name, *(list(column) for column in zip(*repeated, strict=True)))
        assert scored(name, truth, said, counts) == pytest.approx(spelt_out, abs=1e-9)


def test_a_metric_that_is_not_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="unknown metric 'auc'; known: accuracy, macro_f1"):
        metric_named("auc")
