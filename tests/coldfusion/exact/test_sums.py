import math
from random import Random

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldfusion.errors import TensorMismatch
from coldfusion.exact.sums import LIMIT, ExactSum, exact_sum, magnitudes, sums_plainly

TERMS = st.floats(-LIMIT, LIMIT, width=32)
STACKS = hnp.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(0, 5)), elements=TERMS)
NARROW = st.floats(2.0**-39, 2.0**-12, width=32) | st.just(0.0)
NARROW_STACKS = hnp.arrays(np.float32, (5, 4), elements=NARROW | NARROW.map(lambda x: -x))


def by_limbs(terms: np.ndarray) -> np.ndarray:
    running = ExactSum.zeros(terms.shape[1:])
    for term in terms:
        running.add(term)
    return running.total()


def test_what_a_plain_sum_would_lose_is_kept() -> None:
    assert exact_sum(np.array([1.0, 2.0**-62, -1.0])) == 2.0**-62
    assert exact_sum(np.array([2.0**16, 2.0**-62, -(2.0**16)])) == 2.0**-62


def test_a_term_counts_as_its_nearest_multiple_of_the_grid() -> None:
    grid = 2.0**-62
    assert exact_sum(np.array([0.4 * grid, 0.4 * grid, 0.4 * grid])) == 0
    assert exact_sum(np.array([0.6 * grid, 0.6 * grid, 3.4 * grid])) == 5 * grid


def test_as_many_of_the_largest_terms_as_promised_are_summed_exactly() -> None:
    running = ExactSum.zeros(1)
    for _ in range(2**14):
        running.add(np.array([LIMIT - 2.0**-36]))
    for _ in range(2**14 - 1):
        running.add(np.array([2.0**-36 - LIMIT]))
    assert running.total().tolist() == [LIMIT - 2.0**-36]


@pytest.mark.parametrize("value", [LIMIT * 1.001, -1e30, np.inf, np.nan])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_term_above_the_limit_is_refused(value: float, dtype: type[np.floating]) -> None:
    with pytest.raises(TensorMismatch, match="numbers up to 65,536 are fused"):
        exact_sum(np.array([[1.0, value], [0.0, 0.0]], dtype))


@given(STACKS, st.randoms(use_true_random=False))
def test_order_does_not_show(stack: np.ndarray, random: Random) -> None:
    order = list(range(len(stack)))
    random.shuffle(order)
    assert exact_sum(stack[order]).tobytes() == exact_sum(stack).tobytes()


@given(STACKS | NARROW_STACKS)
def test_the_quick_way_gives_what_limbs_give(stack: np.ndarray) -> None:
    expected = by_limbs(stack).tobytes()
    assert exact_sum(stack).tobytes() == expected
    assert exact_sum(list(stack)).tobytes() == expected
    assert exact_sum(stack.astype(np.float64)).tobytes() == expected


@given(NARROW_STACKS)
def test_sums_of_what_lies_on_the_grid_are_those_of_fsum(stack: np.ndarray) -> None:
    assert exact_sum(stack).tolist() == [math.fsum(column) for column in stack.T]


def test_the_quick_way_is_taken_just_as_far_as_it_is_exact() -> None:
    def pairs(*values: float) -> list[tuple[int, int]]:
        return [magnitudes(np.array([value, 0.0], np.float32)) for value in values]

    assert sums_plainly(2, pairs(1.0, 2.0**-28)) and not sums_plainly(2, pairs(1.0, 2.0**-29))
    assert sums_plainly(4, pairs(1.0, 2.0**-27)) and not sums_plainly(5, pairs(1.0, 2.0**-27))
    assert sums_plainly(2, pairs(2.0**-39)) and not sums_plainly(2, pairs(2.0**-40))
    assert sums_plainly(2, pairs(2.0**15)) and not sums_plainly(2, pairs(2.0**16))
    assert sums_plainly(2, pairs(0.0, -0.0))


def test_magnitudes_look_past_signs_and_zeros() -> None:
    largest, smallest = magnitudes(np.array([0.0, -4.0, 0.5, -0.0], np.float32))
    assert (largest >> 24) - 127 == 2 and (smallest >> 24) - 127 == -1
    assert magnitudes(np.zeros(3, np.float32))[0] == magnitudes(np.zeros(0, np.float32))[0] == 0


@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_any_shape_is_summed(shape: tuple[int, ...]) -> None:
    for dtype in (np.float32, np.float64):
        total = exact_sum(np.ones((3, *shape), dtype))
        assert np.shape(total) == shape and np.all(total == 3)


def test_terms_are_not_changed_and_may_be_strided() -> None:
    stack = np.random.default_rng(0).normal(size=(3, 10)).astype(np.float32)
    before = stack.copy()
    strided = exact_sum(stack[:, ::-2])
    assert strided.tobytes() == exact_sum(np.ascontiguousarray(stack[:, ::-2])).tobytes()
    assert (stack == before).all()
