"""Outer optimisers: what a round's fused delta does to the base, (state, fused delta) -> (state, step).

    new base = base + step

Sign: a fused delta is finetuned - base, so steps ADD. FedOpt's Delta has this sign; the gradient that
torch's optimisers and DiLoCo subtract is its negative. All arithmetic is elementwise and in fp64, so a tile
is enough. The state is kept in fp32 between rounds: it is rounded once per round, and every round starts from
what was stored, so that whoever goes on after a restart takes the same step.

    sgd        step = lr f                                     lr 1.0 is ColD Fusion: Don-Yehiya et al. 2023
    momentum   u' = momentum u + f, step = lr u'               FedAvgM: Hsu et al. 2019
    nesterov   u' = momentum u + f, step = lr (f + momentum u')    DiLoCo: Douillard et al. 2023
    adagrad, adam, yogi   step = lr m' / (sqrt(v') + tau)      FedOpt: Reddi et al. 2021, Algorithm 2
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from coldfusion.dtypes import Float64
from coldfusion.errors import ConfigError
from coldfusion.options import options_of

Float32: TypeAlias = NDArray[np.float32]
Slots: TypeAlias = tuple[Float64, ...]


class _Checked:
    """Options that refuse a value outside of what the equations allow, with ConfigError."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name in ("lr", "tau") and not 0 < value < float("inf"):
                raise ConfigError(f"{name} {value} is not above 0")
            if name not in ("lr", "tau") and not 0 <= value < 1:
                raise ConfigError(f"{name} {value} is not at least 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class Sgd(_Checked):
    """Options of sgd."""

    lr: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Momentum(_Checked):
    """Options of heavy-ball momentum, in torch's form: the velocity is a sum, not a mean."""

    lr: float = 1.0
    momentum: float = 0.9


@dataclass(frozen=True, kw_only=True)
class Nesterov(_Checked):
    """Options of Nesterov momentum; the defaults are OpenDiLoCo's."""

    lr: float = 0.7
    momentum: float = 0.9


@dataclass(frozen=True, kw_only=True)
class Adaptive(_Checked):
    """Options of adam and yogi.

    lr has no default: it is about the most that a parameter changes in a round, however small its fused
    delta, so what suits one model ruins another.
    """

    lr: float
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3  # the smaller, the more a parameter that moves little is helped along


@dataclass(frozen=True, kw_only=True)
class Adagrad(_Checked):
    """Options of adagrad. With beta1 = 0 it has no momentum."""

    lr: float
    beta1: float = 0.0
    tau: float = 1e-3


def sgd(state: Slots, fused: Float64, options: Sgd) -> tuple[Slots, Float64]:
    """step = lr f. No state."""
    del state
    return (), options.lr * fused


def momentum(state: Slots, fused: Float64, options: Momentum) -> tuple[Slots, Float64]:
    """u' = momentum u + f; step = lr u'. FedAvgM, Hsu et al. 2019; torch's SGD(momentum), dampening 0."""
    (velocity,) = state
    velocity = options.momentum * velocity + fused
    return (velocity,), options.lr * velocity


def nesterov(state: Slots, fused: Float64, options: Nesterov) -> tuple[Slots, Float64]:
    """u' = momentum u + f; step = lr (f + momentum u'). DiLoCo, Douillard et al. 2023; torch's nesterov."""
    (velocity,) = state
    velocity = options.momentum * velocity + fused
    return (velocity,), options.lr * (fused + options.momentum * velocity)


def adagrad(state: Slots, fused: Float64, options: Adagrad) -> tuple[Slots, Float64]:
    """v' = v + f^2. FedAdagrad, Reddi et al. 2021, Algorithm 2."""
    m, v = state
    return _adaptive(m, v + fused * fused, fused, options)


def adam(state: Slots, fused: Float64, options: Adaptive) -> tuple[Slots, Float64]:
    """v' = beta2 v + (1 - beta2) f^2. FedAdam, Reddi et al. 2021, Algorithm 2."""
    m, v = state
    return _adaptive(m, options.beta2 * v + (1.0 - options.beta2) * (fused * fused), fused, options)


def yogi(state: Slots, fused: Float64, options: Adaptive) -> tuple[Slots, Float64]:
    """v' = v - (1 - beta2) f^2 sign(v - f^2). FedYogi, Reddi et al. 2021, Algorithm 2."""
    m, v = state
    square = fused * fused
    return _adaptive(m, v - (1.0 - options.beta2) * square * np.sign(v - square), fused, options)


def _adaptive(m: Float64, v: Float64, fused: Float64, options: Adaptive | Adagrad) -> tuple[Slots, Float64]:
    """m' = beta1 m + (1 - beta1) f; step = lr m' / (sqrt(v') + tau).

    As in the paper there is no bias correction: m starts at 0 and v at tau^2, so the first steps are short.
    """
    m = options.beta1 * m + (1.0 - options.beta1) * fused
    return (m, v), options.lr * m / (np.sqrt(v) + options.tau)


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterOptimiser:
    """One optimiser: `update` is a pure function in fp64, `init` and `step` its border to what is stored."""

    name: str
    options: type[Any]  # frozen dataclass; constructing it validates
    update: Callable[[Slots, Float64, Any], tuple[Slots, Float64]]
    slots: tuple[str, ...] = ()  # the names of its state arrays, each of the parameters' shape
    start: Callable[[Any], tuple[float, ...]] = lambda options: ()  # what every element of a slot is at first

    def init(self, shape: int | tuple[int, ...], options: Any) -> tuple[Float32, ...]:
        """The state before the first round, an fp32 array of this shape per slot."""
        return tuple(np.full(shape, number, np.float32) for number in self.start(options))

    def step(
        self, state: tuple[Float32, ...], fused: Float64, options: Any
    ) -> tuple[tuple[Float32, ...], Float64]:
        """(state, step) after a fused delta. State fp32, fused delta and step fp64, all of one shape."""
        widened = tuple(slot.astype(np.float64) for slot in state)
        after, step = self.update(widened, fused, options)
        return tuple(slot.astype(np.float32) for slot in after), step


def _from_tau(options: Adaptive | Adagrad) -> tuple[float, float]:
    return 0.0, options.tau**2  # Algorithm 2 asks for v >= tau^2 before the first round


OUTER: dict[str, OuterOptimiser] = {
    made.name: made
    for made in (
        OuterOptimiser(name="sgd", options=Sgd, update=sgd),
        OuterOptimiser(
            name="momentum", options=Momentum, update=momentum, slots=("momentum",), start=lambda _: (0.0,)
        ),
        OuterOptimiser(
            name="nesterov", options=Nesterov, update=nesterov, slots=("momentum",), start=lambda _: (0.0,)
        ),
        OuterOptimiser(name="adagrad", options=Adagrad, update=adagrad, slots=("m", "v"), start=_from_tau),
        OuterOptimiser(name="adam", options=Adaptive, update=adam, slots=("m", "v"), start=_from_tau),
        OuterOptimiser(name="yogi", options=Adaptive, update=yogi, slots=("m", "v"), start=_from_tau),
    )
}
"""The outer optimisers by name."""


@dataclass(frozen=True, slots=True)
class OuterStep:
    """What the engine needs to take a round's outer step: see `outerstate.OuterState`."""

    optimiser: OuterOptimiser
    options: Any  # of the optimiser
    previous: Path | None  # the state file of the round before; None: the optimiser begins here
    into: Path  # where the new state file goes; an optimiser without slots writes none


def outer_named(name: str) -> OuterOptimiser:
    """The outer optimiser called `name` in a policy or a record."""
    if name not in OUTER:
        raise ConfigError(f"outer {name!r} is not known; known: {', '.join(OUTER)}")
    return OUTER[name]


def make_outer_options(optimiser: OuterOptimiser, lr: float | None, values: Mapping[str, Any]) -> Any:
    """The optimiser's options with this learning rate (None: its own) and these values in place of defaults.

    Raises ConfigError naming the key, and where an optimiser that has no learning rate of its own gets none.
    """
    if "lr" in values:
        raise ConfigError(f"{optimiser.name} has no option 'lr': the learning rate is outer_lr")
    if lr is not None and not 0 < lr < float("inf"):
        raise ConfigError(f"outer_lr {lr} is not above 0 and finite")
    if lr is None and not hasattr(optimiser.options, "lr"):  # a dataclass has its defaults as attributes
        raise ConfigError(
            f"{optimiser.name} has no outer_lr of its own: set one, about as large as the most that a number "
            "should change in a round, such as outer_lr=0.001"
        )
    given = dict(values) if lr is None else {**values, "lr": lr}
    return options_of(optimiser.options, given, of=optimiser.name)
