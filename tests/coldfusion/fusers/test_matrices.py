from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldfusion.errors import ConfigError
from coldfusion.exact import blas
from coldfusion.fusers import Coefficients, Tile
from coldfusion.fusers.arrays import fuse_arrays
from coldfusion.fusers.matrices import ISO_C, TSV_M, MatrixOptions, iso_c, tsv_m

BOTH = pytest.mark.parametrize("fuser", [ISO_C, TSV_M], ids=lambda fuser: fuser.name)
Deltas = dict[str, np.ndarray]


def drawn(*shape: int, names: str = "abc", seed: int = 0) -> Deltas:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape, scale=1e-3).astype(np.float32) for name in names}


def test_iso_c_by_hand() -> None:
    deltas = {"a": np.array([[2.0, 0.0], [0.0, 0.0]]), "b": np.array([[1.0, 0.0], [0.0, -1.0]])}
    # The sum is diag(3, -1): singular values 3 and 1, mean 2, with the signs of the directions.
    np.testing.assert_allclose(fuse_arrays(ISO_C, deltas), [[2, 0], [0, -2]], atol=1e-15)


def test_tsv_m_by_hand() -> None:
    deltas = {"a": np.diag([3.0, 1.0]), "b": np.diag([1.0, 2.0])}
    # One component each: 3 along the first axis, 2 along the second; they are orthogonal already.
    np.testing.assert_allclose(fuse_arrays(TSV_M, deltas), [[3, 0], [0, 2]], atol=1e-15)


def test_tsv_m_turns_directions_that_overlap_away_from_one_another() -> None:
    slanted = np.array([[0.6], [0.8]])
    deltas = {"a": 2.0 * np.array([[1.0, 0.0], [0.0, 0.0]]), "b": 5.0 * slanted @ slanted.T}
    # u = (1, 0) and (3, 4) / 5 lie 53.13 degrees apart; the nearest right angle turns each by 18.435 degrees,
    # whose cosine and sine are 3 and 1 over sqrt(10): u = (3, -1) and (1, 3), over sqrt(10).
    first, second = np.array([3.0, -1.0]) / 10**0.5, np.array([1.0, 3.0]) / 10**0.5
    expected = 2 * np.outer(first, first) + 5 * np.outer(second, second)
    np.testing.assert_allclose(fuse_arrays(TSV_M, deltas), expected, atol=1e-14)


def polar(matrix: np.ndarray) -> np.ndarray:
    u, _, v = np.linalg.svd(matrix, full_matrices=False)
    return u @ v


@pytest.mark.parametrize("shape", [(9, 9), (12, 9), (9, 13)], ids=str)
def test_both_are_what_the_papers_code_computes(shape: tuple[int, int]) -> None:
    deltas = drawn(*shape)
    tasks = [np.float64(delta) for delta in deltas.values()]
    u, s, v = np.linalg.svd(sum(tasks), full_matrices=False)
    expected = u @ np.diag(np.full_like(s, s.mean())) @ v
    np.testing.assert_allclose(fuse_arrays(ISO_C, deltas), expected, atol=1e-16)
    left, middle, right = np.zeros_like(u), np.zeros_like(s), np.zeros_like(v)
    for i, task in enumerate(tasks):
        u, s, v = np.linalg.svd(task, full_matrices=False)
        places = slice(3 * i, 3 * i + 3)
        left[:, places], middle[places], right[places] = u[:, :3], s[:3], v[:3]
    expected = polar(left) @ np.diag(middle) @ polar(right)
    np.testing.assert_allclose(fuse_arrays(TSV_M, deltas), expected, atol=1e-16)


def test_iso_c_keeps_the_sum_of_the_singular_values() -> None:
    deltas = drawn(7, 5)
    before = np.linalg.svd(sum(np.float64(delta) for delta in deltas.values()), compute_uv=False)
    after = np.linalg.svd(fuse_arrays(ISO_C, deltas), compute_uv=False)
    np.testing.assert_allclose(after, np.full(5, before.mean()), rtol=1e-12)


def test_tsv_m_of_one_contribution_is_that_contribution() -> None:
    delta = drawn(7, 5)["a"]
    np.testing.assert_allclose(fuse_arrays(TSV_M, {"a": delta}), delta, atol=1e-17)


def test_equal_contributions_give_their_largest_components_in_tsv_m() -> None:
    delta = drawn(8, 6)["a"]
    u, s, v = np.linalg.svd(np.float64(delta))
    expected = (u[:, :2] * s[:2]) @ v[:2]
    np.testing.assert_allclose(fuse_arrays(TSV_M, dict.fromkeys("abc", delta)), expected, atol=1e-16)


@BOTH
def test_directions_in_which_nobody_moved_stay_still(fuser) -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 40, 3)), rng.normal(size=(2, 3, 30))
    deltas = {name: np.float32(x @ y) for name, x, y in zip("ab", a, b, strict=True)}  # rounded: rank 30
    fused = fuse_arrays(fuser, deltas)
    assert np.linalg.matrix_rank(fused, tol=1e-6) == 6
    left = np.linalg.svd(np.hstack(list(a)))[0][:, 6:]  # what no task has reached
    assert np.abs(left.T @ fused).max() < 1e-5 * np.abs(fused).max()


@BOTH
@pytest.mark.parametrize(
    "shape", [(), (0,), (1,), (5,), (2, 3, 4), (0, 3), (2, 40), (40, 2), (1, 1)], ids=str
)
def test_what_is_no_matrix_or_too_small_for_the_tasks_is_the_mean(fuser, shape: tuple[int, ...]) -> None:
    deltas = drawn(*shape)
    mean = np.mean([np.float64(delta) for delta in deltas.values()], axis=0)
    np.testing.assert_allclose(fuse_arrays(fuser, deltas), mean, rtol=1e-15)


@BOTH
def test_zeros_and_opposites_give_zeros(fuser) -> None:
    delta = drawn(6, 4)["a"]
    assert not fuse_arrays(fuser, {"a": 0 * delta, "b": 0 * delta}).any()
    assert not fuse_arrays(ISO_C, {"a": delta, "b": -delta}).any()


@BOTH
def test_the_scale_is_for_every_tensor(fuser) -> None:
    for deltas in (drawn(6, 6), drawn(5)):
        half = fuse_arrays(fuser, deltas, options={"scale": 0.5})
        np.testing.assert_allclose(half, 0.5 * fuse_arrays(fuser, deltas), rtol=1e-12)


@BOTH
def test_weights_are_relative_and_one_of_zero_is_as_if_it_had_not_come(fuser) -> None:
    deltas = drawn(9, 7)
    weighted = fuse_arrays(fuser, deltas, weights={"a": 1.0, "b": 3.0, "c": 0.0})
    others = fuse_arrays(fuser, {k: deltas[k] for k in "ab"}, weights={"a": 5.0, "b": 15.0})
    np.testing.assert_allclose(weighted, others, atol=1e-16)
    equal = fuse_arrays(fuser, deltas, weights=dict.fromkeys("abc", 0.25))
    np.testing.assert_allclose(equal, fuse_arrays(fuser, deltas), atol=1e-16)


@BOTH
@given(
    seed=st.integers(0, 2**32), rows=st.integers(1, 12), columns=st.integers(1, 12), factor=st.integers(-8, 8)
)
def test_no_hidden_scale_and_no_first_contributor(fuser, seed, rows, columns, factor) -> None:
    deltas = drawn(rows, columns, seed=seed)
    fused = fuse_arrays(fuser, deltas)
    turned = fuse_arrays(fuser, dict(zip("abc", [deltas[k] for k in "bca"], strict=True)))
    np.testing.assert_allclose(turned, fused, atol=1e-9)
    scaled = fuse_arrays(fuser, {k: np.float32(2.0**factor) * d for k, d in deltas.items()})
    np.testing.assert_allclose(scaled, 2.0**factor * fused, atol=2.0**factor * 1e-9)


@BOTH
def test_inputs_are_not_changed(fuser) -> None:
    deltas = drawn(6, 5)
    before = {name: delta.copy() for name, delta in deltas.items()}
    fuse_arrays(fuser, deltas)
    assert all((deltas[name] == before[name]).all() for name in deltas)


@pytest.mark.skipif(blas._threads is None, reason="numpy has a BLAS whose threads cannot be set")
@pytest.mark.parametrize("apply", [iso_c, tsv_m], ids=["iso_c", "tsv_m"])
def test_the_bytes_do_not_depend_on_threads(apply) -> None:
    stack = np.stack(list(drawn(400, 384, names="ab").values())).reshape(2, -1)
    tile = Tile("w", (400, 384), 0, stack, ("a", "b"), 0)
    plan = Coefficients(np.ones(2), divisor=2.0)
    expected = apply(tile, plan).tobytes()
    get, set_ = blas._threads
    before = get()
    try:
        set_(2)  # enough for other bytes, were it not for the guard
        with ThreadPoolExecutor(2) as pool:
            assert [found.tobytes() for found in pool.map(apply, [tile] * 4, [plan] * 4)] == [expected] * 4
        assert get() == 2
    finally:
        set_(before)


def test_a_scale_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ConfigError, match="scale is inf: give a finite number"):
        MatrixOptions(scale=float("inf"))
