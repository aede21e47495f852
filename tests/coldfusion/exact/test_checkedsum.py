"""The proof in CheckedSum, against exact arithmetic: what it calls proven is the sum to the last bit."""

from fractions import Fraction

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldfusion.errors import TensorMismatch
from coldfusion.exact.sums import LIMIT, CheckedSum

ANY = st.floats(-LIMIT, LIMIT, width=32)
# Of a few binary orders each, so that some stacks hold, some have doubtful elements, and some do neither.
ORDERS = st.tuples(st.floats(0.5, 1, width=32), st.integers(-66, 16), st.sampled_from([-1, 1]))
NEAR = ORDERS.map(lambda parts: float(np.ldexp(parts[0], parts[1])) * parts[2])
STACKS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 9), st.integers(1, 5)),
    elements=ANY | NEAR | st.sampled_from([0, -0.0]),
)


def checked(stack: np.ndarray, n: int | None = None) -> CheckedSum:
    found = CheckedSum(stack.shape[1], n or len(stack))
    for row in stack:
        found.add(row)
    return found


def exactly(column: np.ndarray) -> float:
    """The sum of the nearest multiples of 2^-62, rounded once."""
    return float(sum((Fraction(round(Fraction(float(x)) * 2**62), 2**62) for x in column), Fraction(0)))


@given(STACKS, st.floats(-20, 4).map(lambda e: float(np.float32(2.0**e))))
def test_what_is_not_doubtful_is_exact_and_never_minus_zero(stack: np.ndarray, scale: float) -> None:
    stack = np.clip(stack * np.float32(scale), -LIMIT, LIMIT)
    found = checked(stack)
    for at in range(stack.shape[1]) if found.holds else ():
        if at not in found.doubtful:
            assert found.total[at].hex() == exactly(stack[:, at]).hex()


def test_it_holds_for_as_many_of_the_largest_as_are_summed_exactly() -> None:
    """Steps of 2^-7, the finest that fp32 has at the limit, 2^14 times: the bits of fp64 are not filled."""
    row = np.array([LIMIT, -LIMIT, LIMIT - 2.0**-7, 2.0**-7 - LIMIT], np.float32)
    found = checked(np.tile(row, (2**14, 1)))
    assert found.holds and not found.doubtful
    assert found.total.tolist() == [2.0**30, -(2.0**30), 2.0**30 - 2**7, 2**7 - 2.0**30]


def test_what_comes_later_and_is_larger_ends_it() -> None:
    small, large = np.full(3, 2.0**-20, np.float32), np.full(3, 2.0**10, np.float32)
    assert checked(np.stack([small, small])).holds
    assert not checked(np.stack([small, large])).holds
    after = checked(np.stack([large, small]))
    assert after.holds and after.doubtful == [0, 1, 2]


@pytest.mark.parametrize(
    "bad", [np.nan, np.inf, -np.inf, np.nextafter(np.float32(LIMIT), np.float32(np.inf))]
)
def test_what_no_sum_holds_is_refused(bad: float) -> None:
    with pytest.raises(TensorMismatch, match="numbers up to 65,536 are fused"):
        checked(np.array([[1.0, bad]], np.float32))
