from dataclasses import dataclass
from typing import Any, Literal

import pytest

from coldfusion.errors import ConfigError
from coldfusion.options import options_of


@dataclass(frozen=True)
class Knobs:
    size: int
    density: float = 0.2
    scope: Literal["tensor", "model"] = "tensor"
    normalize: bool = True
    keep: int | None = None


def test_values_stand_in_place_of_defaults() -> None:
    assert options_of(Knobs, {"size": 3, "keep": 2}, of="r") == Knobs(size=3, keep=2)


def test_a_whole_number_stands_for_the_float_that_it_is() -> None:
    found = options_of(Knobs, {"size": 3, "density": 1}, of="r").density
    assert found == 1.0 and type(found) is float


@pytest.mark.parametrize(
    "values, message",
    [
        (
            {"size": 1, "densty": 0.1},
            "r has no option 'densty'; known: density, keep, normalize, scope, size",
        ),
        ({}, "r needs its option 'size', which has no default"),
        ({"size": 1.5}, "r: size 1.5 is not int"),
        ({"size": True}, "r: size True is not int"),
        ({"size": 1, "density": "all"}, "r: density 'all' is not float"),
        ({"size": 1, "density": float("nan")}, "r: density nan is not a finite number"),
        ({"size": 1, "scope": "layer"}, "r: scope 'layer' is not one of tensor, model"),
        ({"size": 1, "normalize": 1}, "r: normalize 1 is not bool"),
        ({"size": 1, "keep": "2"}, "r: keep '2' is not int or null"),
        ({"size": 1, "density": [0.1]}, "r: density"),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        options_of(Knobs, values, of="r")


def test_a_rule_without_options_says_so() -> None:
    @dataclass(frozen=True)
    class Nothing:
        pass

    with pytest.raises(ConfigError, match="mean has no option 'density'; known: it has no options"):
        options_of(Nothing, {"density": 0.1}, of="mean")
