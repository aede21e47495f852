import numpy as np
import pytest

from coldfusion.errors import ConfigError
from coldfusion.fusers import FUSERS
from coldfusion.fusers.arrays import fuse_arrays
from coldfusion.fusers.linear import total_of

DELTAS = {"a": np.array([1.0, 2.0], np.float32), "b": np.array([4.0, -2.0], np.float32)}


def test_the_mean_by_hand() -> None:
    three = DELTAS | {"c": np.array([1.0, 6.0], np.float32)}
    assert fuse_arrays(FUSERS["mean"], three).tolist() == [2.0, 2.0]


def test_weights_of_a_mean_are_relative() -> None:
    for scale in (1.0, 10.0, 0.3):
        weights = {"a": 2 * scale, "b": scale}
        assert fuse_arrays(FUSERS["mean"], DELTAS, weights=weights) == pytest.approx([2.0, 2 / 3])


def test_equal_weights_round_once() -> None:
    third = np.float32(1 / 3)
    deltas = {
        key: np.array([value]) for key, value in zip("abc", (third, third, np.float32(0.1)), strict=True)
    }
    exact = (2 * int(third * 2**40) + int(np.float32(0.1) * 2**40)) / 2**40 / 3
    assert fuse_arrays(FUSERS["mean"], deltas).tolist() == [exact]


def test_task_arithmetic_adds_and_scales() -> None:
    fused = fuse_arrays(
        FUSERS["task_arithmetic"], DELTAS, options={"scale": 0.5}, weights={"a": 2.0, "b": 1.0}
    )
    assert fused.tolist() == [3.0, 1.0]


def test_merge_to_learn_scales_by_the_ratio_of_the_trainings() -> None:
    one, options = {"a": DELTAS["a"]}, {"skill": 479, "general": 958}
    assert fuse_arrays(FUSERS["task_arithmetic"], one, options=options).tolist() == [0.5, 1.0]
    with pytest.raises(ConfigError, match="skill 479 and general 0 make no ratio"):
        fuse_arrays(FUSERS["task_arithmetic"], one, options={"skill": 479})


def test_a_negative_weight_takes_a_task_out() -> None:
    fused = fuse_arrays(FUSERS["task_arithmetic"], DELTAS, weights={"a": 1.0, "b": -1.0})
    assert fused.tolist() == [-3.0, 4.0]


def test_normalized_task_arithmetic_is_the_mean() -> None:
    weights = {"a": 2.0, "b": 1.0}
    fused = fuse_arrays(FUSERS["task_arithmetic"], DELTAS, options={"normalize": True}, weights=weights)
    assert fused.tobytes() == fuse_arrays(FUSERS["mean"], DELTAS, weights=weights).tobytes()


@pytest.mark.parametrize("weights", [(0.0, 0.0), (1.0, -1.0), (1e9, -1e9 + 1e-6)])
def test_weights_that_cancel_are_refused(weights: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="a mean with them is not defined"):
        total_of(np.array(weights))


def test_a_misspelt_option_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="no option .scael.; known: general, normalize, scale, skill"):
        fuse_arrays(FUSERS["task_arithmetic"], DELTAS, options={"scael": 1.0})
