import numpy as np
import pytest

from coldfusion.errors import ConfigError
from coldfusion.fusers import FUSERS, Tile
from coldfusion.fusers.arrays import fuse_arrays
from coldfusion.fusers.coordinates import middle_mean, selection_network


def fuse(name: str, *columns: list[float], **options: float) -> list[float]:
    """Of columns, each the numbers of all contributions at one coordinate."""
    rows = np.array(columns, np.float32).T
    fused: list[float] = fuse_arrays(
        FUSERS[name], {f"c{i}": r for i, r in enumerate(rows)}, options=options
    ).tolist()
    return fused


def tile_of(stack: np.ndarray) -> Tile:
    return Tile("weight", stack.shape[1:], 0, stack, tuple(map(str, range(len(stack)))), 0)


def test_the_median_by_hand() -> None:
    assert fuse("median", [3, 1, 100], [-5, -5, 2]) == [3, -5]
    assert fuse("median", [3, 1, 100, 2], [0, 0, 1, 1]) == [2.5, 0.5]


def test_the_trimmed_mean_by_hand() -> None:
    assert fuse("trimmed_mean", [1, 9, 2, -100, 3]) == [2]
    assert fuse("trimmed_mean", [1, 9, 2, -100, 3], trim=0.4) == [2]
    assert fuse("trimmed_mean", [1, 9, 2, -100, 3], trim=0.0) == [-17]


def test_the_number_trimmed_is_rounded_down() -> None:
    assert fuse("trimmed_mean", [0, 0, 0, 10], trim=0.24) == [2.5]
    assert fuse("trimmed_mean", [0, 0, 0, 10], trim=0.25) == [0]


@pytest.mark.parametrize("trim", [-0.1, 0.5, 1.0])
def test_a_trim_that_leaves_nothing_is_refused(trim: float) -> None:
    with pytest.raises(ConfigError, match=f"trim {trim} is not within"):
        fuse("trimmed_mean", [1, 2, 3], trim=trim)


@pytest.mark.parametrize("name", ["median", "trimmed_mean"])
def test_weights_are_ignored(name: str) -> None:
    deltas = {key: np.array([value]) for key, value in zip("abc", (1.0, 2.0, 6.0), strict=True)}
    plain = fuse_arrays(FUSERS[name], deltas)
    assert fuse_arrays(FUSERS[name], deltas, weights={"a": 100.0, "b": 0.0, "c": -1.0}) == plain


@pytest.mark.parametrize("n", range(1, 13))
def test_networks_are_right_for_zeros_and_ones_and_so_for_all_numbers(n: int) -> None:
    columns = (np.arange(2**n) >> np.arange(n)[:, None] & 1).astype(np.float32)
    for cut in range((n - 1) // 2 + 1):
        expected = np.sort(columns, axis=0)[cut : n - cut].mean(axis=0, dtype=np.float64)
        assert middle_mean(tile_of(columns), cut) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [2, 7, 8, 33, 100])
def test_any_number_of_contributions_is_sorted_out(n: int, dtype: type[np.floating]) -> None:
    stack = np.random.default_rng(n).normal(0, 1e-3, (n, 500)).astype(dtype)
    for cut in (n // 5, (n - 1) // 2):
        expected = np.sort(stack, axis=0)[cut : n - cut].mean(axis=0, dtype=np.float64)
        np.testing.assert_allclose(middle_mean(tile_of(stack), cut), expected, rtol=1e-12, atol=1e-18)


def test_eight_rows_cost_three_operations_each_at_most() -> None:
    assert len(selection_network(8, 3).steps) == 26
    assert (
        len(selection_network(8, 1).steps) == 18
    )  # Knuth: 10 comparisons find the least and the largest of 8


@pytest.mark.parametrize("n", [1, 2, 3, 8, 31, 64])
def test_memory_is_n_copies_of_a_tile(n: int) -> None:
    assert all(selection_network(n, cut).spare <= n + 1 for cut in range((n + 1) // 2))


def test_a_zero_has_no_sign() -> None:
    zeros = np.array([[0.0], [-0.0], [-0.0], [-0.0]], np.float32)
    for n in (1, 3, 4):
        assert not np.signbit(middle_mean(tile_of(-np.abs(zeros[:n])), (n - 1) // 2)).any()
