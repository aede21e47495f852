"""What every outer optimiser keeps: it holds for one element and for none, at the start and later on."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coldfusion.errors import ConfigError
from coldfusion.outer import OUTER, OuterOptimiser, make_outer_options, outer_named

SHAPES = [(), (0,), (1,), (7, 1), (7, 3)]


@pytest.fixture(params=OUTER)
def optimiser(request: pytest.FixtureRequest) -> OuterOptimiser:
    return OUTER[request.param]


@pytest.fixture
def options(optimiser: OuterOptimiser) -> Any:
    return make_outer_options(optimiser, 0.5, {})


@pytest.fixture(params=SHAPES, ids=str)
def fused(request: pytest.FixtureRequest) -> np.ndarray:
    return np.asarray(np.random.default_rng(0).normal(0, 1e-3, request.param))


def later(optimiser: OuterOptimiser, options: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """The state after two rounds."""
    state = optimiser.init(shape, options)
    for seed in (1, 2):
        delta = np.asarray(np.random.default_rng(seed).normal(0, 1e-3, shape))
        state, _ = optimiser.step(state, delta, options)
    return state


def test_shapes_and_dtypes(optimiser: OuterOptimiser, options: Any, fused: np.ndarray) -> None:
    first = optimiser.init(fused.shape, options)
    state, step = optimiser.step(first, fused, options)
    assert len(first) == len(state) == len(optimiser.slots)
    for slot in (*first, *state):
        assert np.shape(slot) == fused.shape and np.asarray(slot).dtype == np.float32
    assert np.shape(step) == fused.shape and np.asarray(step).dtype == np.float64


def test_inputs_are_not_changed(optimiser: OuterOptimiser, options: Any, fused: np.ndarray) -> None:
    state, delta = later(optimiser, options, fused.shape), fused.copy()
    kept = [np.array(slot) for slot in state]
    optimiser.step(state, delta, options)
    assert (delta == fused).all()
    assert all((a == b).all() for a, b in zip(state, kept, strict=True))


def test_nothing_comes_from_nothing(optimiser: OuterOptimiser, options: Any, fused: np.ndarray) -> None:
    _, step = optimiser.step(optimiser.init(fused.shape, options), 0 * fused, options)
    assert not np.any(step)


def test_a_step_adds_in_the_direction_of_the_delta(
    optimiser: OuterOptimiser, options: Any, fused: np.ndarray
) -> None:
    _, step = optimiser.step(optimiser.init(fused.shape, options), fused, options)
    np.testing.assert_array_equal(np.sign(step), np.sign(fused))


def test_it_is_odd(optimiser: OuterOptimiser, options: Any, fused: np.ndarray) -> None:
    state = optimiser.init(fused.shape, options)
    _, there = optimiser.step(state, fused, options)
    _, back = optimiser.step(state, -fused, options)
    np.testing.assert_array_equal(there, -back)


DELTAS = st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=DELTAS, cuts=st.lists(st.integers(0, 40), max_size=5))
def test_every_element_goes_its_own_way(
    optimiser: OuterOptimiser, options: Any, values: list[float], cuts: list[int]
) -> None:
    """Tiles of any sizes give the bytes of the whole."""
    fused = np.array(values)
    state = later(optimiser, options, fused.shape)
    whole = optimiser.step(state, fused, options)
    tiles = zip(*(np.split(array, sorted(cuts)) for array in (fused, *state)), strict=True)
    parts = [optimiser.step(tuple(rest), tile, options) for tile, *rest in tiles]
    assert np.concatenate([step for _, step in parts]).tobytes() == whole[1].tobytes()
    for k, slot in enumerate(whole[0]):
        assert np.concatenate([after[k] for after, _ in parts]).tobytes() == slot.tobytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=20))
def test_state_and_step_stay_finite(optimiser: OuterOptimiser, options: Any, rounds: list[float]) -> None:
    state = optimiser.init(1, options)
    for delta in rounds:
        state, step = optimiser.step(state, np.array([delta]), options)
        assert np.isfinite(step).all() and all(np.isfinite(slot).all() for slot in state)


def test_the_learning_rate_scales_the_step_and_is_not_in_the_state(
    optimiser: OuterOptimiser, fused: np.ndarray
) -> None:
    """So a federation can change it from one round to the next."""
    one, two = (make_outer_options(optimiser, lr, {}) for lr in (0.5, 1.0))
    state = later(optimiser, one, fused.shape)
    (after_one, short), (after_two, long) = (optimiser.step(state, fused, options) for options in (one, two))
    np.testing.assert_array_equal(2 * short, long)
    assert all((a == b).all() for a, b in zip(after_one, after_two, strict=True))


@pytest.mark.parametrize("lr", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_learning_rate_is_refused(optimiser: OuterOptimiser, lr: float) -> None:
    with pytest.raises(ConfigError, match="lr"):
        make_outer_options(optimiser, lr, {})


def test_the_learning_rate_is_outer_lr_and_nothing_else(optimiser: OuterOptimiser) -> None:
    with pytest.raises(
        ConfigError, match=f"{optimiser.name} has no option 'lr': the learning rate is outer_lr"
    ):
        make_outer_options(optimiser, None, {"lr": 1.0})


def test_a_misspelt_option_is_refused_by_name(optimiser: OuterOptimiser) -> None:
    with pytest.raises(ConfigError, match=f"{optimiser.name} has no option 'momentom'"):
        make_outer_options(optimiser, 1.0, {"momentom": 0.9})


def test_an_unknown_optimiser_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="outer 'lion' is not known; known: sgd, momentum"):
        outer_named("lion")
