"""Records to JSON and back. Reading is strict: a missing, extra or wrongly typed field is refused by name."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from typing import Any, TypeVar, cast

from coldfusion.errors import ManifestError

T = TypeVar("T")
MAX_BYTES = 16 << 20
"""No manifest and no record is near this; a longer text is refused unread."""


def to_json(record: Any) -> bytes:
    """The record as UTF-8 JSON. The same record gives the same bytes."""
    return (json.dumps(dataclasses.asdict(record), indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def from_json(kind: type[T], data: bytes, *, source: str) -> T:
    """The record of class `kind` that `data` holds. Raises ManifestError, naming `source` and the field."""
    if len(data) > MAX_BYTES:
        raise ManifestError(f"{source}: {len(data)} bytes, at most {MAX_BYTES} are read")
    try:
        return cast(T, _decode(kind, json.loads(data), kind.__name__))
    except ManifestError as exc:
        raise ManifestError(f"{source}: {exc}") from exc
    except (ValueError, RecursionError) as exc:
        raise ManifestError(f"{source}: not JSON: {exc}") from exc


def _decode(kind: Any, value: Any, where: str) -> Any:
    """`value` as `kind`: a dataclass, a union, tuple[X, ...], dict[str, X], a NewType, or a plain type.

    A union is X | None, or one of plain types of which the value is one.
    """
    kind = getattr(kind, "__supertype__", kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _decode_dataclass(kind, value, where)
    if origin in (types.UnionType, typing.Union):
        kinds = [argument for argument in arguments if argument is not types.NoneType]
        if value is None and len(kinds) < len(arguments):
            return None
        if len(kinds) > 1 and type(value) not in kinds:
            raise ManifestError(f"{where} is {value!r:.80}, not {' or '.join(k.__name__ for k in kinds)}")
        return _decode(kinds[0] if len(kinds) == 1 else type(value), value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_decode(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if type(value) is kind and kind is not float:  # not isinstance: True is no integer here
        return value
    raise ManifestError(f"{where} is {value!r:.80}, not {getattr(kind, '__name__', kind)}")


def _decode_dataclass(kind: Any, value: dict[str, Any], where: str) -> Any:
    hints, fields = typing.get_type_hints(kind), {f.name: f for f in dataclasses.fields(kind)}
    if extra := sorted(value.keys() - fields.keys()):
        raise ManifestError(f"{where} has no field {extra[0]!r}")
    required = {name for name, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING}
    if missing := sorted(required - value.keys()):
        raise ManifestError(f"{where} lacks field {missing[0]!r}")
    return kind(**{name: _decode(hints[name], item, f"{where}.{name}") for name, item in value.items()})
