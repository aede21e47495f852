import math

import numpy as np
import pytest

from coldfusion.errors import ConfigError
from coldfusion.fusers import FUSERS
from coldfusion.fusers.arrays import fuse_arrays
from coldfusion.fusers.geometry import settled

EAST, NORTH = np.array([1, 0], np.float32), np.array([0, 1], np.float32)


def fuse(
    name: str, *deltas: np.ndarray, weights: tuple[float, ...] | None = None, **options: float
) -> np.ndarray:
    keys = "abcdefgh"[: len(deltas)]
    return fuse_arrays(
        FUSERS[name],
        dict(zip(keys, deltas, strict=True)),
        weights=None if weights is None else dict(zip(keys, weights, strict=True)),
        options=options,
    )


def normal(n: int, shape: tuple[int, ...], shift: float = 0.0) -> list[np.ndarray]:
    """Deltas of ordinary size that have something in common."""
    rng = np.random.default_rng(n)
    common = rng.normal(0, shift, shape)
    return [(common + rng.normal(0, 1e-3, shape)).astype(np.float32) for _ in range(n)]


def test_model_stock_at_60_degrees_goes_two_thirds_of_the_way() -> None:
    fused = fuse("model_stock", EAST, np.array([0.5, 0.75**0.5], np.float32))
    assert fused == pytest.approx([0.5, 0.75**0.5 / 3], rel=1e-6)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_model_stock_follows_its_formula(n: int) -> None:
    deltas = normal(n, (70, 60), shift=5e-4)
    flat = [delta.ravel().astype(float) for delta in deltas]
    pairs = [(flat[i], flat[j]) for i in range(n) for j in range(i)]
    c = np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs])
    expected = n * c / (1 + (n - 1) * c) * np.mean(flat, axis=0)
    difference = fuse("model_stock", *deltas).ravel() - expected
    assert np.linalg.norm(difference) < 1e-7 * np.linalg.norm(expected)


def test_model_stock_stays_where_it_is_when_deltas_oppose_each_other() -> None:
    # mergekit: c = -0.8 gives t = -8, and a step against the average.
    assert not fuse("model_stock", EAST, np.array([-0.8, 0.6], np.float32)).any()


def test_model_stock_does_not_shrink_small_tensors() -> None:
    # mergekit divides by at least 1e-6, which for norms of 1e-5 takes t from 0.99 to about 1e-4.
    deltas = [1e-5 * EAST, 1e-5 * np.array([0.96, 0.28], np.float32)]
    assert fuse("model_stock", *deltas) == pytest.approx(
        1e-5 * fuse("model_stock", *[1e5 * d for d in deltas])
    )
    assert fuse("model_stock", *deltas)[0] == pytest.approx(0.98e-5 * 1.92 / 1.96, rel=1e-6)


def test_a_delta_of_zeros_agrees_with_nothing() -> None:
    # c = (1 + 0 + 0) / 3, t = 1 / (1 + 2 / 3), and the mean is 2 / 3.
    assert fuse("model_stock", EAST, EAST, 0 * EAST) == pytest.approx([0.4, 0])


def test_one_delta_alone_is_taken_as_it_is() -> None:
    for name in ("model_stock", "karcher"):
        assert fuse(name, 3 * NORTH).tolist() == [0, 3]


def test_karcher_halves_the_angle_at_the_mean_norm() -> None:
    assert fuse("karcher", EAST, 3 * NORTH) == pytest.approx([2 * 0.5**0.5, 2 * 0.5**0.5])


def test_karcher_of_two_with_weights_is_slerp() -> None:
    expected = fuse("slerp", EAST, NORTH, t=0.25)
    assert fuse("karcher", EAST, NORTH, weights=(3, 1)) == pytest.approx(expected, rel=1e-6)


def karcher_over_vectors(deltas: list[np.ndarray]) -> np.ndarray:
    """mergekit's steps in fp64, on the vectors themselves."""
    vectors = [delta.ravel().astype(float) for delta in deltas]
    units = [v / np.linalg.norm(v) for v in vectors]
    mean = sum(units) / np.linalg.norm(sum(units))
    for _ in range(10):
        angles = [math.acos(min(mean @ u, 1.0)) for u in units]
        moves = [
            a / math.sin(a) * (u - (mean @ u) * mean) for a, u in zip(angles, units, strict=True) if a > 1e-5
        ]
        tangent = np.sum(moves, axis=0) / len(units)
        length = float(np.linalg.norm(tangent))
        if length < 1e-5:
            break
        mean = math.cos(length) * mean + math.sin(length) * tangent / length
        mean /= np.linalg.norm(mean)
    return np.mean([np.linalg.norm(v) for v in vectors]) * mean


@pytest.mark.parametrize("shift", [0.0, 1e-3, 0.02])
@pytest.mark.parametrize("n", [2, 3, 8])
def test_karcher_on_coefficients_is_karcher_on_vectors(n: int, shift: float) -> None:
    deltas = normal(n, (70, 60), shift)
    expected = karcher_over_vectors(deltas)
    difference = fuse("karcher", *deltas).ravel() - expected
    assert np.linalg.norm(difference) < 1e-7 * np.linalg.norm(expected)


def test_directions_that_cancel_have_no_mean() -> None:
    assert not fuse("karcher", EAST, -2 * EAST).any()


def test_a_delta_of_zeros_has_no_direction_and_counts_in_the_mean_norm() -> None:
    assert fuse("karcher", 2 * EAST, 0 * EAST).tolist() == [1, 0]


def test_karcher_refuses_negative_weights() -> None:
    with pytest.raises(ConfigError, match="weight -1 is below 0"):
        fuse("karcher", EAST, NORTH, weights=(2, -1))


def test_slerp_walks_the_circle() -> None:
    assert fuse("slerp", EAST, NORTH, t=1 / 3) == pytest.approx([0.75**0.5, 0.5])
    assert fuse("slerp", EAST, NORTH, t=1.0) == pytest.approx([0, 1], abs=1e-12)


def test_slerp_of_one_line_is_the_line() -> None:
    assert fuse("slerp", EAST, 2 * EAST, t=0.25).tolist() == [1.25, 0]
    assert fuse("slerp", EAST, -EAST, t=0.25).tolist() == [0.5, 0]
    assert fuse("slerp", EAST, 0 * EAST, t=0.25).tolist() == [0.75, 0]  # mergekit: sin(67.5 degrees) = 0.92


def test_slerp_starts_at_the_first_key() -> None:
    deltas = {"b": NORTH, "a": EAST}
    assert fuse_arrays(FUSERS["slerp"], deltas, options={"t": 0.0}).tolist() == [1, 0]


@pytest.mark.parametrize("deltas", [[EAST], [EAST, NORTH, EAST]])
def test_slerp_takes_two(deltas: list[np.ndarray]) -> None:
    with pytest.raises(ConfigError, match=f"slerp takes exactly 2 deltas, there are {len(deltas)}"):
        fuse("slerp", *deltas)


@pytest.mark.parametrize(
    "name, options", [("slerp", {"t": 1.5}), ("karcher", {"tol": 0.0}), ("karcher", {"max_iter": -1})]
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        fuse(name, EAST, NORTH, **options)


def test_the_last_bits_of_a_sine_do_not_show() -> None:
    coefficients = np.array([math.sin(1), 1e-17, -0.25])
    other_machine = np.array([math.nextafter(math.sin(1), 2), -1e-17, -0.25])
    assert settled(coefficients).tolist() == settled(other_machine).tolist()
    assert settled(coefficients) == pytest.approx([math.sin(1), 0, -0.25], rel=2**-40)
