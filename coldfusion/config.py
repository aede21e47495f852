"""Configuration: a schema at the edge, plain frozen values inside.

Dataclasses are the only source of names and defaults; a YAML file is laid over them, `key=value` over that.
An unknown key or a wrong type is refused by name, here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Policy:
    """What a federation has agreed on: federation.yaml on the Hub."""

    protocol: int = PROTOCOL
    fuser: str = "mean"
    outer_lr: float = 1.0  # new base = base + outer_lr * fused delta; 1.0 is ColD Fusion
    quorum: int = 1  # accepted contributions without which a round is not fused
    codecs: list[str] = field(default_factory=lambda: ["exact", "float32"])  # the first is preferred
    max_delta_bytes: int = 5_000_000_000  # a larger delta file is refused before it is fetched

    def __post_init__(self) -> None:
        if self.protocol != PROTOCOL:
            raise ConfigError(f"protocol {self.protocol} is not {PROTOCOL}: upgrade coldfusion")
        if self.fuser not in FUSERS:
            raise ConfigError(f"fuser {self.fuser!r} is not known; known: {', '.join(FUSERS)}")
        if odd := [codec for codec in self.codecs if codec not in CODECS] or not self.codecs:
            raise ConfigError(f"codecs {odd or '[]'} are not known; known: {', '.join(CODECS)}")
        if not 0 < self.outer_lr < float("inf"):
            raise ConfigError(f"outer_lr {self.outer_lr} is not above 0")
        if self.quorum < 1 or self.max_delta_bytes < 1:
            raise ConfigError(
                f"quorum {self.quorum} or max_delta_bytes {self.max_delta_bytes} is not above 0"
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
        return cast(T, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), layer)))
    except (yaml.YAMLError, OmegaConfBaseException) as exc:
        raise ConfigError(f"{source}: {_one_line(exc)}") from exc


def dump(config: Any) -> str:
    """The YAML text of a config object, every value spelt out."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


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
