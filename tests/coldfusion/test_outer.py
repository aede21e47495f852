"""Outer optimisers against numbers worked out by hand, and against torch's where torch has them.

The deltas of one parameter over three rounds are 0.5, 0.25 and -0.5.
"""

import numpy as np
import pytest
import torch

from coldfusion.errors import ConfigError
from coldfusion.outer import OUTER, make_outer_options, outer_named

DELTAS = (0.5, 0.25, -0.5)


def steps(name: str, lr: float | None, values: dict[str, float]) -> tuple[list[float], list[list[float]]]:
    """(the step of every round, the state after every round)."""
    optimiser = outer_named(name)
    options = make_outer_options(optimiser, lr, values)
    state, found, states = optimiser.init(1, options), [], []
    for delta in DELTAS:
        state, step = optimiser.step(state, np.array([delta]), options)
        found.append(float(step[0]))
        states.append([float(slot[0]) for slot in state])
    return found, states


def test_sgd_with_a_learning_rate_of_1_adds_the_fused_delta() -> None:
    assert steps("sgd", None, {}) == ([0.5, 0.25, -0.5], [[], [], []])
    assert steps("sgd", 0.5, {})[0] == [0.25, 0.125, -0.25]


def test_momentum_by_hand() -> None:
    # u = 0.5; 0.5 / 2 + 0.25 = 0.5; 0.5 / 2 - 0.5 = -0.25
    found, states = steps("momentum", 2.0, {"momentum": 0.5})
    assert states == [[0.5], [0.5], [-0.25]]
    assert found == [1.0, 1.0, -0.5]


def test_nesterov_by_hand() -> None:
    # u as above; f + u / 2 = 0.75; 0.5; -0.625
    found, states = steps("nesterov", 2.0, {"momentum": 0.5})
    assert states == [[0.5], [0.5], [-0.25]]
    assert found == [1.5, 1.0, -1.25]


def test_adagrad_by_hand() -> None:
    # tau 0.5: v = 0.25 + 0.25 = 0.5; 0.5625; 0.8125. beta1 0: m is the delta.
    found, states = steps("adagrad", 1.0, {"tau": 0.5})
    assert states == [[0.5, 0.5], [0.25, 0.5625], [-0.5, 0.8125]]
    expected = [0.5 / (0.5**0.5 + 0.5), 0.25 / (0.75 + 0.5), -0.5 / (0.8125**0.5 + 0.5)]
    assert found == pytest.approx(expected, rel=1e-15)


def test_adam_by_hand() -> None:
    # beta1 = beta2 = 0.5, tau 0.5. m = 0.25; 0.25; -0.125.
    # v = 0.125 + 0.125 = 0.25; 0.125 + 0.03125 = 0.15625; 0.078125 + 0.125 = 0.203125.
    found, states = steps("adam", 2.0, {"beta1": 0.5, "beta2": 0.5, "tau": 0.5})
    assert states == [[0.25, 0.25], [0.25, 0.15625], [-0.125, 0.203125]]
    expected = [0.5, 0.5 / (0.15625**0.5 + 0.5), -0.25 / (0.203125**0.5 + 0.5)]
    assert found == pytest.approx(expected, rel=1e-15)


def test_yogi_by_hand() -> None:
    # beta1 = beta2 = 0.5, tau 0.5. v = 0.25 (f^2 = v: the sign is 0); 0.25 - 0.03125 = 0.21875;
    # 0.21875 + 0.125 = 0.34375 (f^2 above v).
    found, states = steps("yogi", 2.0, {"beta1": 0.5, "beta2": 0.5, "tau": 0.5})
    assert states == [[0.25, 0.25], [0.25, 0.21875], [-0.125, 0.34375]]
    expected = [0.5, 0.5 / (0.21875**0.5 + 0.5), -0.25 / (0.34375**0.5 + 0.5)]
    assert found == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("name, nesterov", [("momentum", False), ("nesterov", True)])
def test_momentum_is_torchs_of_the_negative_gradient(name: str, nesterov: bool) -> None:
    parameter = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    theirs = torch.optim.SGD([parameter], lr=0.7, momentum=0.9, nesterov=nesterov)
    ours = 0.0
    for delta, step in zip(DELTAS, steps(name, 0.7, {"momentum": 0.9})[0], strict=True):
        parameter.grad = torch.tensor([-delta], dtype=torch.float64)
        theirs.step()
        ours += step
        assert ours == pytest.approx(parameter.item(), rel=1e-7)  # the state is rounded to fp32


def test_the_defaults_are_opendilocos_and_fedopts() -> None:
    nesterov = make_outer_options(OUTER["nesterov"], None, {})
    adam = make_outer_options(OUTER["adam"], 0.01, {})
    assert (nesterov.lr, nesterov.momentum) == (0.7, 0.9)
    assert (adam.beta1, adam.beta2, adam.tau) == (0.9, 0.99, 1e-3)


def test_a_step_of_an_adaptive_optimiser_grows_to_its_learning_rate() -> None:
    """However small the deltas are, as long as they are well above tau and agree."""
    optimiser = OUTER["adam"]
    options = make_outer_options(optimiser, 0.25, {"tau": 1e-8})
    state = optimiser.init(1, options)
    for _ in range(2000):
        state, step = optimiser.step(state, np.array([1e-4]), options)
    assert step[0] == pytest.approx(0.25, rel=1e-3)


@pytest.mark.parametrize("name", ["adagrad", "adam", "yogi"])
def test_an_adaptive_optimiser_wants_a_learning_rate_of_its_own(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} has no outer_lr of its own: set one, .*outer_lr=0.001"):
        make_outer_options(OUTER[name], None, {})


@pytest.mark.parametrize(
    "name, values, message",
    [
        ("momentum", {"momentum": 1.0}, "momentum 1.0 is not at least 0 and below 1"),
        ("nesterov", {"momentum": -0.1}, "momentum -0.1 is not"),
        ("adam", {"beta2": 1}, "beta2 1.0 is not"),
        ("yogi", {"tau": 0}, "tau 0.0 is not above 0"),
        ("adam", {"tau": "small"}, "adam: tau 'small' is not float"),
    ],
)
def test_an_option_outside_of_the_equations_is_refused(
    name: str, values: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_outer_options(OUTER[name], 1.0, values)
