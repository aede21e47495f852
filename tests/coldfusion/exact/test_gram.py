import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldfusion.exact.gram import PIECE, inner_products

SIZES = [1, 4095, 4096, 4097, 10000]


def normal(n: int, size: int, scale: float = 1e-3) -> np.ndarray:
    return np.random.default_rng(size).normal(0, scale, (n, size)).astype(np.float32)


def test_inner_products_by_hand() -> None:
    gram = inner_products(np.array([[1, 2, -2], [3, 0, 1]], np.float32))
    assert gram.tolist() == [[9, 1], [1, 10]]


@pytest.mark.parametrize("size", SIZES)
def test_inner_products_are_right_to_a_millionth_of_the_norms(size: int) -> None:
    deltas = normal(5, size)
    exact = deltas.astype(np.longdouble)
    norms = np.sqrt((exact**2).sum(axis=1))
    gram = inner_products(deltas)
    assert (np.abs(gram - exact @ exact.T) <= 1e-6 * norms[:, None] * norms).all()


@pytest.mark.parametrize("size", SIZES)
def test_whole_numbers_have_exact_products(size: int) -> None:
    whole = np.random.default_rng(0).integers(-(2**18), 2**18, (5, size))
    gram = inner_products(whole.astype(np.float32))
    assert (gram == whole @ whole.T).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n", [1, 2, 8, 17])
def test_the_order_of_contributions_does_not_show(n: int, size: int) -> None:
    deltas = normal(n, size)
    order = np.random.default_rng(1).permutation(n)
    gram = inner_products(deltas)
    mixed = inner_products(deltas[order])
    assert mixed.tobytes() == gram[np.ix_(order, order)].tobytes() and (gram == gram.T).all()


def test_a_contribution_more_changes_nobody_elses_products() -> None:
    deltas = normal(9, 10000)
    assert (inner_products(deltas)[:8, :8] == inner_products(deltas[:8])).all()


def test_pieces_add_up_to_the_whole() -> None:
    deltas = normal(3, 2 * PIECE + 5)
    parts = [inner_products(deltas[:, start : start + PIECE]) for start in range(0, deltas.shape[1], PIECE)]
    gram = inner_products(deltas)
    assert (gram == sum(parts)).all()


@given(hnp.arrays(np.float32, (4, 6), elements=st.floats(-1, 1, width=32, allow_subnormal=False)))
def test_equal_deltas_are_at_no_distance(deltas: np.ndarray) -> None:
    gram = inner_products(np.repeat(deltas, 2, axis=0))
    assert (gram[::2, ::2] == gram[1::2, ::2]).all() and (gram[::2, ::2] == gram[1::2, 1::2]).all()


def test_powers_of_two_scale_exactly() -> None:
    gram = inner_products(normal(4, 5000))
    scaled = inner_products(normal(4, 5000) * np.float32(0.25))
    assert (scaled == gram / 16).all()


def test_nothing_has_no_length() -> None:
    for size in (0, 3, 5000):
        assert not inner_products(np.zeros((2, size), np.float32)).any()


def test_deltas_are_not_changed_and_may_be_strided() -> None:
    deltas = normal(3, 9000)
    before = deltas.copy()
    assert (inner_products(deltas[:, ::-2]) == inner_products(deltas[:, ::-2].copy())).all()
    assert (deltas == before).all()


def test_at_worst_it_is_within_1e_4_of_the_norms() -> None:
    """One value towers over thousands that are all alike and all but halfway to the next grid point."""
    deltas = np.full((2, PIECE), 0.49 * 2.0**-19, np.float32)
    deltas[0, 0], deltas[1] = 1, deltas[1] * 2.0**19
    true = deltas.astype(np.float64) @ deltas.astype(np.float64).T
    norms = np.sqrt(np.diag(true))
    error = np.abs(inner_products(deltas) - true) / np.outer(norms, norms)
    assert 4e-5 < error.max() < 1.3e-4
