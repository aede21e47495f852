from pathlib import Path

import pytest

from coldfusion.errors import ConfigError
from coldfusion.offline.recipes import (
    Input,
    Recipe,
    dump_recipe,
    make_recipe,
    parse_settings,
    read_recipe,
    weighted,
)

TWO = (Input("models/alice"), Input("models/bob", weight=0.5))


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    return path


def test_a_recipe_that_is_written_is_read_back_the_same(tmp_path: Path) -> None:
    recipe = Recipe("base", TWO, "task_arithmetic", {"scale": 0.3}, seed=7, mismatch="rows", dtype="bfloat16")
    assert read_recipe(written(tmp_path, dump_recipe(recipe))) == recipe


def test_an_input_is_a_name_or_keys_and_values(tmp_path: Path) -> None:
    text = "base: b\ninputs:\n- models/alice\n- {model: models/bob, weight: 0.5}\n"
    assert read_recipe(written(tmp_path, text)).inputs == TWO


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("base: b\ninputs: [a]\nfusr: ties\n", "a recipe has no option 'fusr'"),
        ("base: b\ninputs: [{modl: a}]\n", "an input has no option 'modl'"),
        ("base: b\ninputs: [a]\noptions: {densty: 0.1}\n", "mean has no option 'densty'"),
        ("base: b\ninputs: [a]\nfuser: average\n", "unknown fuser 'average'"),
        ("inputs: [a]\n", "needs its option 'base'"),
        ("base: b\ninputs: []\n", "no inputs"),
        ("base: b\ninputs: a\n", "inputs 'a' is not a list"),
        ("base: b\ninputs: [3]\n", "input 3 is neither"),
        ("base: b\ninputs: [x/a, y/a]\n", "two inputs are called 'a'"),
        ("base: b\ninputs: [a]\nmismatch: skip\n", "mismatch 'skip' is not one of"),
        ("base: b\ninputs: [a]\ndtype: int8\n", "dtype 'int8' is not one of"),
        ("base: b\ninputs: [{model: a, weight: .nan}]\n", "weight"),
        ("base: b\ninputs: [a]\nseed: many\n", "seed 'many' is not int"),
        ("- a\n", "holds no keys and values"),
        ("base: [\n", "not YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=r"r\.yaml: .*") as caught:
        read_recipe(written(tmp_path, text))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_settings_are_read_as_yaml_would() -> None:
    assert parse_settings(["density=0.2", "normalize=false", "scope=model", "f=2"]) == {
        "density": 0.2,
        "normalize": False,
        "scope": "model",
        "f": 2,
    }
    with pytest.raises(ConfigError, match="'density' is not key=value"):
        parse_settings(["density"])


def test_weights_are_given_for_all_inputs_or_for_none() -> None:
    recipe = make_recipe({"base": "b", "inputs": ["alice", "bob"]})
    assert weighted(recipe, []) == recipe
    assert [one.weight for one in weighted(recipe, [2.0, 1.0]).inputs] == [2.0, 1.0]
    with pytest.raises(ConfigError, match="1 weights for 2 inputs"):
        weighted(recipe, [2.0])
