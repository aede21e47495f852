from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import pytest

from coldfusion.config import Policy, dump, load, parse
from coldfusion.errors import ConfigError
from coldfusion.fusers import FUSERS


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
    for policy in (Policy(quorum=3), Policy(outer="nesterov", outer_options={"momentum": 0.5})):
        for said in (policy, policy.spelt_out()):
            assert parse(Policy, dump(said), source="federation.yaml") == said


def test_plain_cold_fusion_is_the_default() -> None:
    fusing = Policy().fusing()
    assert (fusing.fuser, fusing.weights, fusing.outer, fusing.outer_lr) == ("mean", "uniform", "sgd", 1.0)


def test_a_policy_spelt_out_says_every_default_and_means_the_same() -> None:
    overrides = ["fuser=task_arithmetic", "fuser_options.scale=0.5", "outer=nesterov"]
    policy = load(Policy, None, overrides)
    said = policy.spelt_out()
    assert said.fuser_options == {"scale": 0.5, "normalize": False, "skill": 0, "general": 0}
    assert (said.outer_lr, said.outer_options) == (0.7, {"momentum": 0.9})
    assert said.fusing() == policy.fusing() and said.spelt_out() == said


def test_every_knob_of_a_policy_has_its_comment_in_lines_that_fit() -> None:
    lines = dump(Policy()).splitlines()
    assert all(len(line) <= 110 for line in lines)
    for knob in fields(Policy):
        assert lines[[line.split(":")[0] for line in lines].index(knob.name) - 1].startswith("# ")


def test_a_fuser_that_needs_more_than_deltas_is_refused_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needy = replace(FUSERS["mean"], name="fisher", needs=frozenset({"extras"}))
    monkeypatch.setitem(FUSERS, "fisher", needy)
    with pytest.raises(ConfigError, match="'fisher' needs more .* with coldfusion fuse, or take one of mean"):
        Policy(fuser="fisher")


@pytest.mark.parametrize(
    "text, message",
    [
        ("protocol: 2", "protocol 2 is not 1: upgrade coldfusion"),
        ("fuser: average", "fuser 'average' is not known; known: mean"),
        ("outer_lr: 0", "outer_lr 0.0 is not above 0"),
        ("outer_lr: .nan", "outer_lr nan"),
        ("outer_lr: .inf", "outer_lr inf"),
        ("outer: lion", "outer 'lion' is not known; known: sgd, momentum"),
        ("outer: adam", "adam has no outer_lr of its own"),
        ("{outer: momentum, outer_options: {momentom: 0.9}}", "momentum has no option 'momentom'"),
        ("outer_options: {lr: 1}", "sgd has no option 'lr': the learning rate is outer_lr"),
        ("fuser_options: {densty: 0.1}", "mean has no option 'densty'"),
        ("{fuser: task_arithmetic, fuser_options: {scale: big}}", "scale 'big' is not float"),
        ("fuser_options: [0.1]", "federation.yaml: "),
        ("fuser_options: null", "fuser_options"),
        ("weights: size", "'size'; known: uniform, examples"),
        ("max_examples: 0", "max_examples 0 is not above 0"),
        ("quorum: 0", "quorum 0"),
        ("codecs: [zip]", "zip"),
        ("codecs: []", "codecs"),
        ("fusser: mean", "Key 'fusser' not in 'Policy'"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(Policy, text, source="federation.yaml")
