"""TIES by hand, and against its formula written out."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldfusion.errors import ConfigError
from coldfusion.fusers import make_options, sparse
from coldfusion.fusers.arrays import fuse_arrays
from coldfusion.fusers.ties import TIES

THREE = {"a": np.array([4, -1, 2, 0.5]), "b": np.array([-2, 3, 0.5, -1]), "c": np.array([-1, -2, 5, 0.25])}
"""With density 0.5: [4, 0, 2, 0], [-2, 3, 0, 0] and [0, -2, 5, 0] are kept."""


def ties(
    deltas: dict[str, np.ndarray], weights: dict[str, float] | None = None, **options: Any
) -> list[float]:
    singles = {key: np.asarray(delta, np.float32) for key, delta in deltas.items()}
    fused: list[float] = fuse_arrays(TIES, singles, weights=weights, options=options).tolist()
    return fused


def test_what_agrees_with_the_elected_sign_is_averaged() -> None:
    assert ties(THREE, density=0.5) == [4, 3, 3.5, 0]


def test_weights_multiply_before_the_election() -> None:
    # Sums of 4 - 6, 9 - 2 and 2 + 5: the first coordinate now elects -.
    weights = {"a": 1.0, "b": 3.0, "c": 1.0}
    assert ties(THREE, weights, density=0.5) == [-2, 3, 3.5, 0]
    assert ties(THREE, weights, density=0.5, normalize=False, scale=2.0) == [-12, 18, 14, 0]


def test_a_sum_of_zero_elects_plus() -> None:
    assert ties({"a": [2.0], "b": [-2.0]}) == [2]
    assert ties({"a": [4.0], "b": [-2.0]}, {"a": 1.0, "b": 2.0}) == [4]


def test_a_negative_weight_turns_a_vote_around() -> None:
    # Votes are 3 and -1: the second loses.
    assert ties({"a": [3.0], "b": [1.0]}, {"a": 2.0, "b": -1.0}, normalize=False) == [6]


def test_equal_weights_of_any_size_are_uniform() -> None:
    assert ties(THREE, dict.fromkeys(THREE, 0.3), density=0.5) == ties(THREE, density=0.5)
    assert ties(THREE, dict.fromkeys(THREE, 0.5), density=0.5, normalize=False) == [2, 1.5, 3.5, 0]


def test_all_that_tie_at_the_threshold_are_kept() -> None:
    assert ties({"a": [1.0, -1.0, 1.0, 0.5]}, density=0.25) == [1, -1, 1, 0]


def test_density_is_a_share_rounded_down_and_keeps_at_least_one_element() -> None:
    assert ties({"a": [1.0, 2.0, 3.0, 4.0]}, density=0.74) == [0, 0, 3, 4]
    assert ties({"a": [1.0, 2.0, 3.0, 4.0]}, density=0.01) == [0, 0, 0, 4]
    assert ties({"a": [5.0]}, density=0.2) == [5]


@pytest.mark.parametrize("density", [0.0, -1.0])
def test_density_zero_keeps_nothing(density: float) -> None:
    assert ties(THREE, density=density) == [0, 0, 0, 0]


@pytest.mark.parametrize("density", [1.0, 2.0])
def test_density_one_trims_nothing(density: float) -> None:
    assert ties({"a": [1.0, -2.0], "b": [3.0, 0.0]}, density=density) == [2, -2]


def test_rescaling_makes_up_for_what_was_trimmed() -> None:
    # Of 8 in sum 5 is kept; of 2 elements 1.
    assert ties({"a": [3.0, 5.0]}, density=0.5, rescale="l1") == pytest.approx([0, 8], rel=1e-12)
    assert ties({"a": [3.0, 5.0]}, density=0.5, rescale="expected") == [0, 10]


def test_zeros_rank_like_any_magnitude_but_never_agree() -> None:
    assert ties({"a": [0.0, 0.0, 7.0], "b": [1.0, 0.0, 3.0]}, density=0.9) == [1, 0, 5]


def test_more_than_255_contributions_are_counted() -> None:
    assert ties({f"{i:03}": [1.0] for i in range(300)}) == [1]


def test_trimming_over_the_whole_model_is_asked_of_the_engine() -> None:
    for scope in ("tensor", "model"):
        ranking = TIES.ranking(make_options(TIES, {"scope": scope}))
        assert ranking is not None and ranking.scope == scope and ranking.ranks(10, 10) == (2,)


def test_misspelt_options_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="rescale 'l2' is not one of none, expected, l1"):
        make_options(TIES, {"rescale": "l2"})
    with pytest.raises(ConfigError, match="scope 'layer' is not one of tensor, model"):
        make_options(TIES, {"scope": "layer"})


def test_weights_that_cancel_are_refused() -> None:
    with pytest.raises(ConfigError, match="weights sum to 0"):
        ties({"a": [1.0], "b": [2.0]}, {"a": 1.0, "b": -1.0})


rows = st.lists(st.integers(-9, 9), min_size=4, max_size=4)


@given(st.lists(st.tuples(rows, st.integers(1, 4)), min_size=1, max_size=5), st.booleans())
def test_it_is_the_formula(drawn: list[tuple[list[int], int]], normalize: bool) -> None:
    deltas = {f"{i}": np.array(row, float) for i, (row, _) in enumerate(drawn)}
    weights = {f"{i}": float(weight) for i, (_, weight) in enumerate(drawn)}
    fused = ties(deltas, weights, density=0.5, normalize=normalize)
    assert fused == pytest.approx(
        written_out([d for d, _ in drawn], [w for _, w in drawn], normalize), rel=1e-14
    )


def written_out(deltas: list[list[int]], weights: list[int], normalize: bool) -> list[float]:
    """mergekit's formula, but for ties at the threshold, of the larger half of four elements."""
    kept = [[x if abs(x) >= sorted(map(abs, delta))[2] else 0 for x in delta] for delta in deltas]
    votes = np.array(weights)[:, None] * kept
    elected = np.where(votes.sum(axis=0) >= 0, 1, -1)
    agrees = np.sign(votes) == elected
    divisor = (np.array(weights)[:, None] * agrees).sum(axis=0)
    result: list[float] = (
        (votes * agrees).sum(axis=0) / (np.maximum(divisor, 1) if normalize else 1)
    ).tolist()
    return result


def test_the_quick_sum_and_the_exact_one_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    deltas = {key: random.normal(0, 1e-3, 500) for key in "abcde"}
    quick = ties(deltas)
    monkeypatch.setattr(sparse, "sums_plainly", lambda n, found: False)
    assert ties(deltas) == quick
