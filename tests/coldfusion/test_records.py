import dataclasses

import pytest

from coldfusion.errors import ManifestError
from coldfusion.jsonrecords import from_json, to_json
from coldfusion.records import (
    Entry,
    Evaluation,
    Fusing,
    Gain,
    Manifest,
    Revision,
    RoundRecord,
    TaskScore,
    is_name_of,
    parse_title,
)

MANIFEST = Manifest(
    contributor="alice",
    round_index=3,
    base=Revision("a" * 40),
    codec="exact",
    num_examples=100,
    size=12,
    sha256="b" * 64,
)
RECORD = RoundRecord(
    round_index=1,
    parent=Revision("a" * 40),
    fusing=Fusing(
        fuser="rule",
        fuser_options={"density": 0.2, "k": 3, "scope": "model", "normalize": True, "seed": None},
        weights="examples",
        max_examples=100,
        seed=2**63 - 1,
        outer="adam",
        outer_lr=0.7,
        outer_options={"tau": 1e-3},
        outer_state="d" * 64,
    ),
    entries=(
        Entry(
            contributor="bob",
            proposal=None,
            revision=None,
            sha256=None,
            codec=None,
            num_examples=None,
            size=None,
            weight=0.0,
            norm=None,
            reasons=("failed",),
        ),
    ),
    output={"model.safetensors": "c" * 64},
    notes=("something to know",),
    evaluation=Evaluation(
        scores=(TaskScore(task="t", held_out=True, protocol="probe", seed=0, score=50.0, num_examples=2),),
        gains=(Gain(protocol="probe", held_out=True, mean=1.0, low=-1.0, high=2.0, num_tasks=1),),
    ),
)


@pytest.mark.parametrize("record", [MANIFEST, RECORD], ids=["manifest", "record"])
def test_json_gives_the_record_back(record: object) -> None:
    assert from_json(type(record), to_json(record), source="here") == record


def test_a_manifest_that_exists_is_one_that_holds() -> None:
    wrong = {
        "contributor": "../bob",
        "round_index": 0,
        "base": "main",
        "codec": "zip",
        "num_examples": -1,
        "size": 0,
        "sha256": "x",
        "protocol": 2,
    }
    for name, value in wrong.items():
        with pytest.raises(ManifestError, match=name):
            dataclasses.replace(MANIFEST, **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "old, new, message",
    [
        (b'"size": 12', b'"size": "12"', "Manifest.size is '12', not int"),
        (b'"size": 12', b'"size": true', "Manifest.size is True, not int"),
        (b'"size": 12', b'"extra": 1, "size": 12', "Manifest has no field 'extra'"),
        (b'"codec": "exact",', b"", "Manifest lacks field 'codec'"),
        (b"{", b"[", "not JSON"),
        (b'"alice"', b'"' + b"x" * (17 << 20) + b'"', "at most 16777216 are read"),
    ],
)
def test_reading_is_strict_and_names_the_field(old: bytes, new: bytes, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        from_json(Manifest, to_json(MANIFEST).replace(old, new), source="manifest.json")


@pytest.mark.parametrize("value", ["[0.2]", "{}", "NaN", "1e999"])
def test_an_option_in_a_record_is_a_plain_value(value: str) -> None:
    text = to_json(RECORD).replace(b'"density": 0.2', f'"density": {value}'.encode())
    with pytest.raises(ManifestError, match="RoundRecord.fusing.fuser_options.density"):
        from_json(RoundRecord, text, source="record.json")


def test_a_newer_record_asks_for_an_upgrade() -> None:
    newer = to_json(RECORD).replace(b'"protocol": 1', b'"protocol": 2')
    with pytest.raises(ManifestError, match="record of protocol 2, this is 1: upgrade coldfusion"):
        from_json(RoundRecord, newer, source="record.json")


def test_a_score_is_within_0_to_100_points() -> None:
    with pytest.raises(ManifestError, match="101"):
        TaskScore(task="t", held_out=True, protocol="probe", seed=0, score=101.0, num_examples=1)


@pytest.mark.parametrize(
    "contributor, holds",
    [
        ("alice", True),
        ("alice--reviews", True),
        ("alice-reviews", False),
        ("alice2", False),
        ("bob", False),
        ("bob--alice", False),
    ],
)
def test_an_account_contributes_under_its_own_name_alone(contributor: str, holds: bool) -> None:
    assert is_name_of(contributor, "alice") == holds


def test_a_title_names_round_and_contributor_and_others_are_no_contributions() -> None:
    assert parse_title(MANIFEST.title) == (MANIFEST.round_index, MANIFEST.contributor)
    for title in ("", "fix a typo", "round 1: alice", "round x: alice [000000000000]", f"{MANIFEST.title} "):
        assert parse_title(title) is None
