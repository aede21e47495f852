import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldfusion.engine.spans import SPAN, Span, Tiling, grouped, spans_of
from coldfusion.tensorfile import TensorInfo


def info(*shape: int) -> TensorInfo:
    return TensorInfo("w", "F32", shape)


def edges(spans: object) -> list[tuple[int, int]]:
    return [(span.start, span.stop) for span in spans]  # type: ignore[attr-defined]


def test_the_last_span_is_what_is_left() -> None:
    assert edges(spans_of(info(7), size=3)) == [(0, 3), (3, 6), (6, 7)]


@pytest.mark.parametrize("shape, expected", [((), [(0, 1)]), ((0,), []), ((0, 5), []), ((1,), [(0, 1)])])
@pytest.mark.parametrize("tiling", ["any", "rows", "tensor"])
def test_small_tensors(shape: tuple[int, ...], expected: list[tuple[int, int]], tiling: Tiling) -> None:
    assert edges(spans_of(info(*shape), tiling)) == expected


@pytest.mark.parametrize(
    "shape, expected",
    [
        ((5, 4), [(0, 8), (8, 16), (16, 20)]),  # two rows of four fit into ten elements
        ((2, 2, 4), [(0, 8), (8, 16)]),  # a row is all of one index of the first dimension
        ((2, 12), [(0, 12), (12, 24)]),  # a row that is longer than a span stays whole
        ((25,), [(0, 25)]),  # a vector is one row
        ((25, 1), [(0, 10), (10, 20), (20, 25)]),
    ],
)
def test_rows_stay_whole(shape: tuple[int, ...], expected: list[tuple[int, int]]) -> None:
    assert edges(spans_of(info(*shape), "rows", size=10)) == expected


def test_a_tensor_stays_whole() -> None:
    assert edges(spans_of(info(3, SPAN), "tensor")) == [(0, 3 * SPAN)]


@given(st.lists(st.integers(0, 50)), st.integers(1, 20), st.integers(1, 60))
def test_groups_hold_every_span_once_and_in_order(counts: list[int], size: int, most: int) -> None:
    spans = [span for count in counts for span in spans_of(info(count), size=size)]
    groups = list(grouped(spans, most))
    assert [span for group in groups for span in group] == spans
    assert all(len(group) == 1 or sum(span.count for span in group) <= most for group in groups)


def test_small_tensors_share_a_group() -> None:
    spans = [Span(info(2), 0, 2)] * 5
    assert [len(group) for group in grouped(spans, 4)] == [2, 2, 1]
