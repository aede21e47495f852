"""Configuration: a schema at the edge, plain frozen values inside.

Dataclasses are the only source of names and defaults; a YAML file is laid over them, `key=value` over that.
An unknown key or a wrong type is refused by name, here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from coldfusion.codecs import CODECS
from coldfusion.errors import ConfigError
from coldfusion.fusers import FUSERS
from coldfusion.records import PROTOCOL

T = TypeVar("T")


def _knob(default: Any, text: str) -> Any:
    """A field of a config with the comment that stands above it in the YAML text."""
    made = default if callable(default) else (lambda: default)
    return field(default_factory=made, metadata={"comment": text})


@dataclass(frozen=True)
class Policy:
    """What a federation has agreed on: federation.yaml on the Hub."""

    protocol: int = _knob(PROTOCOL, "version of the protocol; another one is refused")
    fuser: str = _knob("mean", f"how deltas are combined: {', '.join(FUSERS)}")
    outer_lr: float = _knob(1.0, "new base = base + outer_lr * fused delta; 1.0 is plain ColD Fusion")
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
    retention: int | None = _knob(
        None,
        "rounds after which settled contributions are deleted; null: they stay, and anyone can verify",
    )

    def __post_init__(self) -> None:
        if self.protocol != PROTOCOL:
            raise ConfigError(f"protocol {self.protocol} is not {PROTOCOL}: upgrade coldfusion")
        if self.fuser not in FUSERS:
            raise ConfigError(f"fuser {self.fuser!r} is not known; known: {', '.join(FUSERS)}")
        if odd := [codec for codec in self.codecs if codec not in CODECS] or not self.codecs:
            raise ConfigError(f"codecs {odd or '[]'} are not known; known: {', '.join(CODECS)}")
        if not 0 < self.outer_lr < float("inf"):
            raise ConfigError(f"outer_lr {self.outer_lr} is not above 0")
        for name in ("quorum", "deadline_hours", "max_delta_bytes", "retention"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} {value} is not above 0")


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
        except OmegaConfBaseException as exc:
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
    except (yaml.YAMLError, OmegaConfBaseException) as exc:
        raise ConfigError(f"{source}: {_one_line(exc)}") from exc


def dump(config: Any) -> str:
    """The YAML text of a config object, every value spelt out, under the comments that its fields have."""
    lines = OmegaConf.to_yaml(OmegaConf.structured(config)).splitlines()
    comments = {f"{knob.name}:": f"# {knob.metadata['comment']}" for knob in fields(config) if knob.metadata}
    found = ((comments.get(line.split(" ")[0]), line) for line in lines)
    return "".join(f"{comment}\n{line}\n" if comment else f"{line}\n" for comment, line in found)


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
