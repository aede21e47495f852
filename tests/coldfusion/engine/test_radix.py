from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from coldfusion.engine.crews import Threads
from coldfusion.engine.radix import select
from coldfusion.engine.spans import Span, grouped, spans_of
from coldfusion.fusers.family import Ranking
from coldfusion.tensorfile import TensorInfo

Ranks = Callable[[int, int], tuple[int, ...]]


def selected(scores: np.ndarray, ranks: Ranks, threads: int = 1) -> np.ndarray:
    """What stands at the ranks of (m, t) scores, cut into spans of 7 and groups of two."""
    patterns = scores.view(np.uint32 if scores.dtype == np.float32 else np.uint64)

    def read(span: Span) -> np.ndarray:
        return patterns[:, span.start : span.stop]

    spans = spans_of(TensorInfo("w", "F32", scores.shape[1:]), size=7)
    groups = list(grouped(spans, size=14))
    return select(groups, read, Ranking(np.abs, ranks), Threads(threads))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_it_is_what_a_sort_finds(dtype: type, data: st.DataObject) -> None:
    width = 32 if dtype is np.float32 else 64
    numbers = st.floats(0, 2.0**100, width=width)  # type: ignore[arg-type]
    scores = data.draw(arrays(dtype, st.tuples(st.just(2), st.integers(1, 40)), elements=numbers)) + 0
    ranks = data.draw(st.lists(st.integers(1, scores.shape[1]), min_size=1, max_size=2))
    expected = -np.sort(-scores, axis=1)[:, [rank - 1 for rank in ranks]]
    np.testing.assert_array_equal(selected(scores, lambda count, nonzero: tuple(ranks)), expected)


def test_equal_numbers_have_neighbouring_ranks() -> None:
    scores = np.array([[1, 3, 2, 3, 0]], np.float32)
    assert selected(scores, lambda count, nonzero: (1, 2, 3, 4, 5)).tolist() == [[3, 3, 2, 1, 0]]


def test_ranks_may_depend_on_how_many_are_not_zero() -> None:
    scores = np.array([[0, 3, 2, 0, 1], [5, 4, 0, 0, 0]], np.float32)
    assert selected(scores, lambda count, nonzero: (nonzero,)).tolist() == [[1], [4]]


def test_ranks_beyond_the_ends_are_the_ends() -> None:
    scores = np.array([[1, 3, 2]], np.float32)
    assert selected(scores, lambda count, nonzero: (0, 9)).tolist() == [[3, 1]]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_show(threads: int) -> None:
    scores = np.random.default_rng(0).random((3, 1000), np.float32)
    expected = np.sort(scores, axis=1)[:, [-10, -500]]
    np.testing.assert_array_equal(selected(scores, lambda count, nonzero: (10, 500), threads), expected)
