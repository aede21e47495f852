from datetime import timedelta

import pytest

from experiments.page.cutting import ends, spread
from experiments.page.words import count_text, signed, size_text, span_text


@pytest.mark.parametrize(
    "size, text",
    [(0, "0 B"), (999, "999 B"), (1234, "1.23 kB"), (999_600, "1 MB"), (498e6, "498 MB"), (5e15, "5,000 TB")],
)
def test_bytes(size: float, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    "seconds, text", [(9.6, "10 s"), (61, "1 min 1 s"), (7500, "2 h 5 min"), (90000, "1 d 1 h")]
)
def test_spans(seconds: float, text: str) -> None:
    assert span_text(timedelta(seconds=seconds)) == text


def test_numbers() -> None:
    assert [signed(v) for v in (1.25, -0.04, 0.0, -3.0)] == ["+1.2", "0.0", "0.0", "-3.0"]
    assert [count_text(n, "round") for n in (0, 1, 1000)] == ["0 rounds", "1 round", "1,000 rounds"]


def test_what_does_not_fit_is_cut_out_of_the_middle() -> None:
    whole, cut = ends([1, 2, 3], 3, tail=1), ends([1, 2, 3, 4, 5], 3, tail=1)
    assert (whole.shown, whole.left_out) == ((1, 2, 3), 0)
    assert (cut.first, cut.left_out, cut.last) == ((1, 2), 2, (5,))


def test_what_is_shown_along_the_way_has_both_ends() -> None:
    assert spread(3, 4) == [0, 1, 2] and spread(10, 4) == [0, 3, 6, 9]
