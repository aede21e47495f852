from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from coldfusion.errors import TensorMismatch
from coldfusion.exact.sums import LIMIT, exact_sum
from coldfusion.exact.wholesums import MOST, WholeSum, limbs_of, whole_numbers

NUMBERS = st.floats(-LIMIT, LIMIT, width=32)
COUNTS = st.integers(-(2**20), 2**20)


def whole_sum(terms: list[np.ndarray], counts: list[int]) -> WholeSum:
    running = WholeSum(*np.zeros((2, len(terms[0])), np.int64))  # not in scratch: some tests hold two
    for term, count in zip(terms, counts, strict=True):
        running.add(term, count)
    return running


def on_grid(value: float) -> Fraction:
    """The nearest multiple of 2^-62, the even one of two."""
    return Fraction(round(Fraction(value) * 2**62), 2**62)


@pytest.mark.parametrize(
    "weights, expected",
    [
        ((1.0, 1.0), ((1, 1), 1.0)),
        ((0.1, 0.1, 0.1), ((1, 1, 1), 0.1)),
        ((20.0, 10.0), ((2, 1), 10.0)),
        ((1.5, -0.5), ((3, -1), 0.5)),
        ((-2.0, -2.0), ((1, 1), -2.0)),
        ((0.0,), ((0,), 1.0)),
        ((67_349.0, 3_668.0), ((67_349, 3_668), 1.0)),
        ((float(MOST), 1.0), None),
        ((0.1, 0.2, 0.3), None),  # 0.3 is not three times the 0.1 of fp64
        ((float("inf"), 1.0), None),
    ],
)
def test_weights_as_multiples_of_one_unit(
    weights: tuple[float, ...], expected: tuple[tuple[int, ...], float] | None
) -> None:
    assert whole_numbers(weights) == expected


@given(st.lists(st.floats(-60_000, 60_000, width=16), min_size=1, max_size=6))
def test_a_unit_and_counts_are_the_weights(weights: list[float]) -> None:
    if found := whole_numbers(tuple(weights)):
        assert [found[1] * count for count in found[0]] == weights


@given(st.lists(st.tuples(NUMBERS, COUNTS), min_size=1, max_size=8))
@settings(deadline=None)
def test_it_is_the_sum_of_rationals_rounded_once(pairs: list[tuple[float, int]]) -> None:
    exact = sum(count * on_grid(value) for value, count in pairs)
    found = whole_sum([np.array([value], np.float32) for value, _ in pairs], [count for _, count in pairs])
    if abs(exact) < 2**31:
        assert found.total()[0] == exact.numerator / exact.denominator
    else:
        assert found.total()[0] == pytest.approx(float(exact), rel=2**-51)


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_with_counts_of_one_it_is_the_exact_sum(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    terms = data.draw(arrays(dtype, (3, 5), elements=NUMBERS))
    assert whole_sum(list(terms), [1, 1, 1]).total().tobytes() == exact_sum(terms).tobytes()


@given(arrays(np.float64, (2, 6), elements=NUMBERS), st.integers(1, 2**20))
@settings(deadline=None)
def test_what_was_added_is_taken_out_to_the_last_bit(terms: np.ndarray, count: int) -> None:
    before = whole_sum([terms[0]], [3])
    after = whole_sum([terms[0], terms[1], terms[1]], [3, count, -count])
    assert (before.high == after.high).all() and (before.low == after.low).all()


def test_a_common_unit_is_divided_out_exactly() -> None:
    terms = list(np.random.default_rng(0).normal(size=(2, 1000)).astype(np.float32))
    tripled, once = whole_sum(terms, [6, 9]), whole_sum(terms, [2, 3])
    assert tripled.total(3).tobytes() == once.total().tobytes()


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sum_that_is_allowed_does_not_overflow(sign: int) -> None:
    found = whole_sum([np.array([sign * LIMIT, sign * 2.0**-23, 0.0])], [MOST])
    assert found.total().tolist() == [sign * LIMIT * MOST, sign * 2.0**-23 * MOST, 0.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2 * LIMIT])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_cannot_be_summed_is_refused(bad: float, dtype: type) -> None:
    with pytest.raises(TensorMismatch, match="numbers up to 65,536 are fused"):
        limbs_of(np.array([1.0, bad], dtype))


def test_nothing_is_changed_in_its_terms_and_no_element_is_no_trouble() -> None:
    terms = np.array([1.0, -2.0], np.float32)
    assert whole_sum([terms], [3]).total().tolist() == [3, -6] and terms.tolist() == [1, -2]
    assert whole_sum([terms[:0]], [3]).total().size == 0
