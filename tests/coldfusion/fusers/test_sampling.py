"""Draws are the same on every machine, by position, and as frequent as they should be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldfusion.fusers.sampling import draws, keep_evenly, keep_unevenly

STREAM = (7, "alice", "layer.0.weight")


def test_the_stream_is_pinned() -> None:
    assert draws(STREAM, 0, 6).tolist() == [54560, 41870, 27962, 39181, 17651, 48520]
    assert draws(STREAM, 1_000_000_007, 3).tolist() == [21737, 54729, 15098]


@given(st.integers(0, 300), st.integers(0, 100))
def test_an_element_draws_the_same_however_tiles_are_cut(start: int, count: int) -> None:
    whole = draws(STREAM, 0, 400)
    assert (draws(STREAM, start, count) == whole[start : start + count]).all()
    mask = keep_evenly(STREAM, 0, 400, 0.3).copy()
    assert (keep_evenly(STREAM, start, count, 0.3) == mask[start : start + count]).all()


@pytest.mark.parametrize("other", [(8, *STREAM[1:]), (7, "bob", STREAM[2]), (7, "alice", "layer.1.weight")])
def test_round_contribution_and_tensor_name_a_stream(other: tuple[int, str, str]) -> None:
    same = draws(STREAM, 0, 10_000) == draws(other, 0, 10_000)
    assert same.sum() < 5  # by chance 0.15


@pytest.mark.parametrize("probability", [0.01, 0.2, 0.5, 0.999])
def test_the_share_kept_is_the_probability(probability: float) -> None:
    share = keep_evenly(STREAM, 0, 200_000, probability).mean()
    assert share == pytest.approx(probability, abs=5 * (probability * (1 - probability) / 200_000) ** 0.5)


def test_a_probability_below_the_16_bits_of_a_draw_is_honoured() -> None:
    kept = sum(int(keep_evenly(STREAM, start, 2**20, 2.0**-17).sum()) for start in range(0, 2**23, 2**20))
    assert 24 < kept < 104  # 64 expected, with a deviation of 8


def test_uneven_probabilities_are_those_of_the_elements() -> None:
    even = keep_evenly(STREAM, 5, 1000, 0.3).copy()
    assert (keep_unevenly(STREAM, 5, np.full(1000, 0.3)) == even).all()
    assert keep_unevenly(STREAM, 0, np.tile([0.0, 1.0], 100_000)).tolist() == [False, True] * 100_000


def test_nothing_is_drawn_for_nothing() -> None:
    assert keep_evenly(STREAM, 3, 0, 0.5).shape == (0,) == keep_unevenly(STREAM, 3, np.zeros(0)).shape
