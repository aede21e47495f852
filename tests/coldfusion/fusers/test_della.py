"""DELLA: the probability to be kept follows from the rank within the row."""

from typing import Any

import numpy as np
import pytest

from coldfusion.errors import ConfigError
from coldfusion.fusers import fuser_named, make_options
from coldfusion.fusers.arrays import fuse_arrays
from coldfusion.fusers.della import DrawnByRank, ascending
from coldfusion.fusers.sampling import keep_unevenly

TIES, LINEAR = fuser_named("della"), fuser_named("della_linear")


def probabilities(rows: Any, density: float, epsilon: float, dtype: type = np.float32) -> list[list[float]]:
    drawn = DrawnByRank(density, epsilon, unbiased=False)
    found: list[list[float]] = drawn.probabilities(np.array(rows, dtype)).tolist()
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_rise_in_equal_steps_with_the_rank(dtype: type) -> None:
    found = probabilities([[5, -1, 4, 2, -3], [1, 2, 3, 4, 5]], 0.5, 0.25, dtype)
    assert found == [[0.75, 0.25, 0.625, 0.375, 0.5], [0.25, 0.375, 0.5, 0.625, 0.75]]


def test_epsilon_is_made_smaller_rather_than_leaving_what_a_probability_can_be() -> None:
    assert probabilities([[1, 2, 3]], 0.9, 0.15)[0] == pytest.approx([0.8, 0.9, 1.0])
    assert probabilities([[1, 2, 3]], 0.1, 0.15)[0] == pytest.approx([0.0, 0.1, 0.2])


def test_a_row_of_one_element_is_kept_with_the_density() -> None:
    assert probabilities([[3], [4]], 0.3, 0.15) == [[0.3], [0.3]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_magnitudes_are_ranked_by_position(dtype: type) -> None:
    rows = np.array([[1, -1, 0, 1], [0, -0.0, 0, 0]], dtype)
    assert ascending(rows).tolist() == [[2, 0, 1, 3], [0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("shape", "width"), [((8,), 8), ((2, 4), 4), ((4, 2, 1), 2), ((2, 2, 2), 4), ((), 1)]
)
def test_a_row_is_one_index_of_the_first_dimension(shape: tuple[int, ...], width: int) -> None:
    delta = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)
    chance = np.array(probabilities(delta.reshape(-1, width), 0.5, 0.25)).reshape(-1)
    kept = keep_unevenly((0, "a", "weight"), 0, chance).reshape(shape)
    options = {"density": 0.5, "epsilon": 0.25, "rescale": "none"}
    np.testing.assert_array_equal(fuse_arrays(LINEAR, {"a": delta}, options=options), delta * kept)


def test_what_is_kept_is_divided_by_its_own_probability() -> None:
    delta = np.arange(1, 1001, dtype=np.float32)
    fused = fuse_arrays(LINEAR, {"a": delta}, options={"density": 0.5, "epsilon": 0.25})
    chance = 0.25 + np.arange(1000) * 0.5 / 999
    kept = fused != 0
    np.testing.assert_allclose(fused[kept], (delta / chance)[kept], rtol=1e-13)
    assert kept[:200].sum() < 90 < 110 < kept[-200:].sum()
    assert 440 < kept.sum() < 560


def test_l1_keeps_the_sum_of_magnitudes() -> None:
    fused = fuse_arrays(LINEAR, {"a": np.arange(1.0, 101.0)}, options={"rescale": "l1"})
    assert fused.sum() == pytest.approx(5050, rel=1e-11)


def test_an_election_averages_what_agrees() -> None:
    same = {"a": np.full(50, 2.0), "b": np.full(50, 2.0), "c": np.full(50, -1.0)}
    fused = fuse_arrays(TIES, same, options={"density": 0.5, "epsilon": 0.0, "rescale": "none"})
    assert set(fused.tolist()) == {2.0, -1.0, 0.0}


def test_density_zero_is_nothing_and_one_is_all() -> None:
    delta = {"a": np.array([[1.0, -2.0]])}
    assert fuse_arrays(TIES, delta, options={"density": 0.0}).tolist() == [[0, 0]]
    assert fuse_arrays(TIES, delta, options={"density": 1.0}).tolist() == [[1, -2]]


def test_an_epsilon_below_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="epsilon -0.1 is below 0"):
        make_options(TIES, {"epsilon": -0.1})
