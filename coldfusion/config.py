"""Configuration: a schema at the edge, plain frozen values inside.

Dataclasses are the only source of names and defaults; a YAML file is laid over them, `key=value` over that.
An unknown key or a wrong type is refused by name, here and nowhere else.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from coldfusion.codecs import CODECS
from coldfusion.errors import ConfigError
from coldfusion.fusers import FUSERS, make_options
from coldfusion.outer import OUTER, make_outer_options, outer_named
from coldfusion.records import PROTOCOL, Fusing
from coldfusion.weighting import WEIGHTINGS, weighting_named

T = TypeVar("T")


def _knob(default: Any, text: str) -> Any:
    """A field of a config with the comment that stands above it in the YAML text."""
    made = default if callable(default) else (lambda: default)
    return field(default_factory=made, metadata={"comment": text})


def _of_deltas_alone() -> str:
    """The fusers that need nothing of a contribution but its delta."""
    return ", ".join(name for name, fuser in FUSERS.items() if "extras" not in fuser.needs)


@dataclass(frozen=True)
class Policy:
    """What a federation has agreed on: federation.yaml on the Hub."""

    protocol: int = _knob(PROTOCOL, "version of the protocol; another one is refused")
    fuser: str = _knob("mean", f"how deltas are combined: {_of_deltas_alone()}")
    fuser_options: dict[str, Any] = _knob(
        dict, "the fuser's options, such as {density: 0.2}; one that is not named has its default"
    )
    weights: str = _knob(
        "uniform",
        f"how much a contribution counts: {', '.join(WEIGHTINGS)}; uniform is ColD Fusion, examples counts "
        "the training examples that its manifest claims, up to max_examples",
    )
    max_examples: int = _knob(10_000, "the most examples that a contribution counts for, whatever it claims")
    outer: str = _knob(
        "sgd",
        f"the outer optimiser, new base = base + its step: {', '.join(OUTER)}; sgd is outer_lr * fused delta",
    )
    outer_lr: float | None = _knob(
        None,
        "the outer learning rate; null is the optimiser's own where it has one: 1.0 of sgd, which is plain "
        "ColD Fusion, 1.0 of momentum, 0.7 of nesterov; adagrad, adam and yogi need one said, about the most "
        "that a number should change in a round, such as 0.001",
    )
    outer_options: dict[str, Any] = _knob(
        dict, "the outer optimiser's options, such as {momentum: 0.9}; one that is not named has its default"
    )
    quorum: int = _knob(1, "accepted contributions at which a round is fused")
    deadline_hours: float | None = _knob(
        None, "hours after which a round is fused with fewer (at least one); null: it waits for its quorum"
    )
    contributors: list[str] | None = _knob(
        None, "accounts that may contribute; null: everybody who may open a pull request"
    )
    codecs: list[str] = _knob(
        lambda: ["exact", "float32"], "how a delta may be encoded; the first is preferred"
    )
    max_delta_bytes: int = _knob(5_000_000_000, "a larger delta is refused before it is fetched")
    gate: bool = _knob(
        True,
        "whether a candidate must hold its own to be published: its mean probe score on validation splits of "
        "the held-out tasks may not be below the base's by more than its 95 % interval allows; without such "
        "tasks there is no gate",
    )
    gate_task_drop: float = _knob(
        5.0,
        "points that the worst task may lose at the gate; it may lose more where its interval includes zero",
    )
    leave_one_out: int = _knob(
        16,
        "the most contributions of which every one is left out once, to say what it was worth on validation "
        "splits of the held-out tasks; of a larger round there is the estimate alone; 0: nobody is left out",
    )
    estimates: bool = _knob(
        True,
        "whether the worth of contributions is also estimated from one gradient on the held-out tasks, "
        "whatever their number",
    )
    retention: int | None = _knob(
        None,
        "rounds after which settled contributions are deleted; null: they stay, and anyone can verify",
    )

    def __post_init__(self) -> None:
        if self.protocol != PROTOCOL:
            raise ConfigError(f"protocol {self.protocol} is not {PROTOCOL}: upgrade coldfusion")
        self._check_fusing()
        if odd := [codec for codec in self.codecs if codec not in CODECS] or not self.codecs:
            raise ConfigError(f"codecs {odd or '[]'} are not known; known: {', '.join(CODECS)}")
        for name in (
            *("gate_task_drop", "max_examples", "quorum", "deadline_hours", "max_delta_bytes", "retention"),
        ):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} {value} is not above 0")
        if self.leave_one_out < 0:
            raise ConfigError(f"leave_one_out {self.leave_one_out} is below 0")

    def _check_fusing(self) -> None:
        if self.fuser not in FUSERS:
            raise ConfigError(f"fuser {self.fuser!r} is not known; known: {_of_deltas_alone()}")
        if "extras" in FUSERS[self.fuser].needs:
            raise ConfigError(
                f"fuser {self.fuser!r} needs more of a contribution than its delta, which a federation does "
                f"not collect: use it offline, with coldfusion fuse, or take one of {_of_deltas_alone()}"
            )
        weighting_named(self.weights)
        self.fusing()

    def fusing(self, *, seed: int = 0, outer_state: str | None = None) -> Fusing:
        """What a round's record says of this policy. Raises ConfigError naming an option that cannot be."""
        outer = outer_named(self.outer)
        outer_options = asdict(make_outer_options(outer, self.outer_lr, self.outer_options))
        return Fusing(
            fuser=self.fuser,
            fuser_options=asdict(make_options(FUSERS[self.fuser], self.fuser_options)),
            weights=self.weights,
            max_examples=self.max_examples,
            seed=seed,
            outer=outer.name,
            outer_lr=outer_options.pop("lr"),
            outer_options=outer_options,
            outer_state=outer_state,
        )

    def spelt_out(self) -> Policy:
        """The same policy with the learning rate and every option said, also those left at their defaults."""
        said = self.fusing()
        return replace(
            self,
            fuser_options=said.fuser_options,
            outer_lr=said.outer_lr,
            outer_options=said.outer_options,
        )


def load(schema: type[T], path: Path | None = None, overrides: Sequence[str] = ()) -> T:
    """Schema < YAML file < key=value, as a plain `schema` object. Raises ConfigError naming the key."""
    layers: list[tuple[str, Any]] = []
    if path is not None:
        layers.append((str(path), _read_yaml(path)))
    for override in overrides:
        if "=" not in override:
            raise ConfigError(f"{override!r} is not key=value")
        layers.append((override, OmegaConf.from_dotlist([override])))
    merged: Any = OmegaConf.structured(schema)
    for source, layer in layers:
        try:
            merged = OmegaConf.merge(merged, layer)
        except (OmegaConfBaseException, TypeError) as exc:  # TypeError: a list in place of keys and values
            raise ConfigError(f"{source}: {_one_line(exc)}") from exc
    try:
        return cast(T, OmegaConf.to_object(merged))
    except MissingMandatoryValue as exc:
        raise ConfigError(
            f"{path or schema.__name__}: {exc.full_key} is missing; add {exc.full_key}=..."
        ) from exc
    except OmegaConfBaseException as exc:
        raise ConfigError(f"{path or schema.__name__}: {_one_line(exc)}") from exc


def parse(schema: type[T], text: str, *, source: str) -> T:
    """The `schema` object that a YAML text holds. Raises ConfigError, naming `source` and the key."""
    try:
        layer = OmegaConf.create(text)
        if not isinstance(layer, DictConfig):
            raise ConfigError(f"{source}: holds a list, expected keys and values")
        return cast(T, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), layer)))
    except (yaml.YAMLError, OmegaConfBaseException, TypeError) as exc:
        raise ConfigError(f"{source}: {_one_line(exc)}") from exc


def dump(config: Any) -> str:
    """The YAML text of a config object, every value spelt out, under the comments that its fields have."""
    lines = OmegaConf.to_yaml(OmegaConf.structured(config)).splitlines()
    comments = {f"{k.name}:": _comment(k.metadata["comment"]) for k in fields(config) if k.metadata}
    found = ((comments.get(line.split(" ")[0]), line) for line in lines)
    return "".join(f"{comment}\n{line}\n" if comment else f"{line}\n" for comment, line in found)


def _comment(text: str) -> str:
    lines = textwrap.wrap(text, 108, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"# {line}" for line in lines)


def _read_yaml(path: Path) -> DictConfig:
    try:
        loaded = OmegaConf.load(path)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: not YAML: {_one_line(exc)}") from exc
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path}: holds a list, expected keys and values")
    return loaded


def _one_line(exc: Exception) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    key = getattr(exc, "full_key", None)
    text = lines[0] if lines else repr(exc)
    return f"{key}: {text}" if key and str(key) not in text else text
