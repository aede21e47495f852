from dataclasses import dataclass, field
from pathlib import Path

import pytest

from coldfusion.config import Policy, dump, load, parse
from coldfusion.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    lr: float = 0.1


@dataclass(frozen=True)
class Outer:
    base: str = "???"
    rounds: int = 3
    inner: Inner = field(default_factory=Inner)


def test_command_line_wins_over_file_wins_over_schema(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("base: here\nrounds: 5\ninner: {lr: 0.2}")
    assert load(Outer, tmp_path / "c.yaml", ["inner.lr=0.3"]) == Outer("here", 5, Inner(0.3))


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["base=x", "round=1"], "Key 'round' not in 'Outer'. Did you mean: 'rounds'?"),
        (["base=x", "inner.rl=1"], "inner.rl: Key 'rl' not in 'Inner'"),
        (["base=x", "rounds=many"], "rounds: Value 'many' of type 'str' could not be converted to Integer"),
        (["base=x", "rounds"], "'rounds' is not key=value"),
        ([], "base is missing; add base=..."),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_name(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(Outer, None, overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, message", [("a: [", "not YAML"), ("- a", "holds a list"), ("bas: 1", "'bas'")]
)
def test_a_file_that_is_no_config_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=f"c.yaml: .*{message}"):
        load(Outer, tmp_path / "c.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no.yaml: No such file"):
        load(Outer, tmp_path / "no.yaml")


def test_a_policy_comes_back_from_its_yaml() -> None:
    policy = Policy(outer_lr=0.7, quorum=3)
    assert parse(Policy, dump(policy), source="federation.yaml") == policy


@pytest.mark.parametrize(
    "text, message",
    [
        ("protocol: 2", "protocol 2 is not 1: upgrade coldfusion"),
        ("fuser: average", "fuser 'average' is not known; known: mean"),
        ("outer_lr: 0", "outer_lr 0.0 is not above 0"),
        ("outer_lr: .nan", "outer_lr nan"),
        ("quorum: 0", "quorum 0"),
        ("codecs: [zip]", "zip"),
        ("codecs: []", "codecs"),
        ("fusser: mean", "Key 'fusser' not in 'Policy'"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(Policy, text, source="federation.yaml")
