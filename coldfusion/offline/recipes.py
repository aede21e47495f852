"""A recipe: which checkpoints are fused, by which rule. From the command line or from a YAML file.

A key that is not known is refused by name, in the recipe, in an input and in the fuser's options alike: a
misspelt one would leave a default in force and nobody would notice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args

from coldfusion.engine.sources import Mismatch
from coldfusion.errors import ConfigError
from coldfusion.fusers import fuser_named, make_options
from coldfusion.options import options_of

DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}


@dataclass(frozen=True)
class Input:
    """One checkpoint that goes in."""

    model: str  # a directory, a .safetensors file, a PEFT adapter, or org/name[@revision]
    weight: float = 1.0
    name: str = ""  # what random masks are drawn by; else the last part of `model`
    fisher: str = ""  # safetensors file with the diagonal that a Fisher-weighted mean needs

    @property
    def key(self) -> str:
        return self.name or Path(self.model.rstrip("/")).name


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the bytes of a fused checkpoint, but for the inputs' own."""

    base: str
    inputs: tuple[Input, ...]
    fuser: str = "mean"
    options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0  # of random masks
    outer_lr: float = 1.0  # output = base + outer_lr * fused delta
    mismatch: Mismatch = "refuse"  # tensors that differ from the base's are refused, or see CheckpointSource
    dtype: str = ""  # of the output's floats: float32, bfloat16, float16, float64; else the base's
    rank: int = 0  # above 0: LoRA adapters become one of this rank, without what does not fit into it

    def __post_init__(self) -> None:
        make_options(fuser_named(self.fuser), self.options)
        if not self.inputs:
            raise ConfigError("no inputs: name at least one checkpoint to fuse")
        for key in (keys := [one.key for one in self.inputs]):
            if keys.count(key) > 1:
                raise ConfigError(
                    f"two inputs are called {key!r}; give them different names (name: in a recipe)"
                )
        if self.mismatch not in (ways := get_args(Mismatch)):
            raise ConfigError(f"mismatch {self.mismatch!r} is not one of {', '.join(ways)}")
        if self.dtype and self.dtype not in DTYPES:
            raise ConfigError(f"dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")
        if self.rank < 0:
            raise ConfigError(f"rank {self.rank} is below 0")
        if not math.isfinite(self.outer_lr):
            raise ConfigError(f"outer_lr {self.outer_lr} is not a finite number")
        for one in self.inputs:
            if not math.isfinite(one.weight):
                raise ConfigError(f"weight {one.weight} of {one.key} is not a finite number")


def read_recipe(path: Path) -> Recipe:
    """The recipe in a YAML file. Raises ConfigError naming the file and the key."""
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(exc).split())}") from exc
    if not isinstance(found, Mapping):
        raise ConfigError(f"{path}: holds no keys and values; see `coldfusion fuse --help`")
    try:
        return make_recipe(found)
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc}") from exc


def make_recipe(values: Mapping[str, Any]) -> Recipe:
    """The recipe of plain values, as YAML holds them: `inputs` are names, or mappings with Input's keys."""
    given = values.get("inputs", [])
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConfigError(f"inputs {given!r} is not a list")
    inputs = [{"model": one} if isinstance(one, str) else one for one in given]
    if odd := [one for one in inputs if not isinstance(one, Mapping)]:
        raise ConfigError(f"input {odd[0]!r} is neither a name nor keys and values")
    made = tuple(options_of(Input, one, of="an input") for one in inputs)
    if not isinstance(values.get("options", {}), Mapping):
        raise ConfigError(f"options {values['options']!r} is not keys and values")
    return options_of(Recipe, {**values, "inputs": made}, of="a recipe")


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """key=value from the command line, as YAML would read the value. Raises ConfigError."""
    found = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"{setting!r} is not key=value")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found


def weighted(recipe: Recipe, weights: Sequence[float]) -> Recipe:
    """The recipe with these weights for its inputs, in their order; as it is where there are none."""
    if not weights:
        return recipe
    if len(weights) != len(recipe.inputs):
        raise ConfigError(f"{len(weights)} weights for {len(recipe.inputs)} inputs: give one for each")
    pairs = zip(recipe.inputs, weights, strict=True)
    return replace(recipe, inputs=tuple(replace(one, weight=weight) for one, weight in pairs))


def dump_recipe(recipe: Recipe) -> str:
    """The YAML text that `read_recipe` reads back, with every value spelt out (JSON is YAML)."""
    plain = {knob.name: getattr(recipe, knob.name) for knob in fields(recipe) if knob.name != "inputs"}
    lines = [f"{name}: {json.dumps(value)}" for name, value in plain.items() if value != ""]
    lines.append("inputs:")
    for one in recipe.inputs:
        entries = [f"{knob.name}: {json.dumps(getattr(one, knob.name))}" for knob in fields(one)]
        kept = [entry for entry in entries if not entry.endswith(': ""')]
        lines.append("- " + "\n  ".join(kept))
    return "\n".join(lines) + "\n"
