"""Options of a rule or an optimiser: a frozen dataclass says what there is, a mapping says what differs.

A misspelt key would silently leave a default in force, so it is refused by name, and so is a value of another
type than the default's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from coldfusion.errors import ConfigError

T = TypeVar("T")


def options_of(kind: type[T], values: Mapping[str, Any], *, of: str) -> T:
    """The options `kind` of the rule called `of`, with these values in place of its defaults.

    A whole number stands for the float that it is. Raises ConfigError naming the key.
    """
    hints = get_type_hints(kind)
    knobs = {knob.name: knob for knob in fields(kind)}  # type: ignore[arg-type]
    if odd := [key for key in values if key not in knobs]:
        known = ", ".join(sorted(knobs)) or "it has no options"
        raise ConfigError(f"{of} has no option {odd[0]!r}; known: {known}")
    needed = [n for n, k in knobs.items() if k.default is MISSING and k.default_factory is MISSING]
    if missing := [name for name in needed if name not in values]:
        raise ConfigError(f"{of} needs its option {missing[0]!r}, which has no default")
    return kind(**{key: _checked(f"{of}: {key}", value, hints[key]) for key, value in values.items()})


def _checked(where: str, value: Any, hint: Any) -> Any:
    """`value` where it is of the type `hint`: plain, a Literal, dict, tuple, or a union of plain types."""
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ConfigError(f"{where} {value!r} is not one of {', '.join(map(str, get_args(hint)))}")
        return value
    kinds = get_args(hint) or (hint,)
    if (generic := get_origin(hint)) in (dict, tuple):  # of what it holds nothing is checked
        kinds = (generic,)
    if type(value) is int and int not in kinds and float in kinds:
        value = float(value)
    if type(value) not in kinds:
        names = " or ".join("null" if kind is NoneType else kind.__name__ for kind in kinds)
        raise ConfigError(f"{where} {value!r} is not {names}")
    if type(value) is float and not math.isfinite(value):
        raise ConfigError(f"{where} {value!r} is not a finite number")
    return value
