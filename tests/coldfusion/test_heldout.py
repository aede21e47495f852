from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from coldfusion.coordinator import Coordinator
from coldfusion.errors import ManifestError, StaleParent
from coldfusion.federation import read_state
from coldfusion.heldout import (
    HELD_OUT,
    MAX_BYTES,
    VERSION,
    HeldOut,
    Terms,
    fetch_held_out,
    publish_held_out,
    read_held_out,
    write_held_out,
)
from coldfusion.hub import PathInfo, materialise
from coldfusion.jsonrecords import to_json
from coldfusion.records import Evaluation
from hub_sync.local import LocalHub
from tests.helpers import contribute, finetuned, new_federation, small_body

BODY = small_body()
TERMS = Terms(tasks=("pears", "plums"), sources=(), num_texts=2, thin=1, salt="ab" * 16)


def hashes(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.uint64)


MADE = HeldOut(TERMS, hashes(3, 2**64 - 1), hashes())


@pytest.fixture
def hub(tmp_path: Path) -> LocalHub:
    hub = LocalHub(tmp_path / "store")
    new_federation(hub, tmp_path, BODY)
    return hub


def coordinator(hub: LocalHub, room: Path, held_out: HeldOut = MADE) -> Coordinator:
    file = write_held_out(held_out, room / "made" / HELD_OUT)
    return Coordinator(hub=hub, workdir=room / "work", evaluate=lambda *_: Evaluation(), held_out=file)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    read = read_held_out(write_held_out(MADE, tmp_path / "file"))
    assert read.terms == TERMS and read.salt == bytes([0xAB] * 16)
    assert (read.wholes.tolist(), read.pieces.tolist()) == ([3, 2**64 - 1], [])


def test_it_is_published_once_and_again_only_when_it_changes(hub: LocalHub, tmp_path: Path) -> None:
    assert fetch_held_out(hub, at=hub.head()) is None
    state = coordinator(hub, tmp_path).finish()
    assert state.head == hub.head() != state.base and read_state(hub) == state
    assert coordinator(hub, tmp_path).finish() == state
    other = replace(MADE, wholes=hashes(4))
    assert coordinator(hub, tmp_path, other).finish().head != state.head
    found = fetch_held_out(hub, at=hub.head())
    assert found is not None and found.wholes.tolist() == [4]


def test_a_round_goes_on_over_it_and_no_checkpoint_holds_it(hub: LocalHub, tmp_path: Path) -> None:
    contribute(hub, tmp_path, finetuned(BODY, 1), name="alice")  # made before anything was held out
    assert coordinator(hub, tmp_path).run_round().num_accepted == 1
    assert coordinator(hub, tmp_path).finish().head == hub.head() == hub.resolve("round-0001")
    assert hub.paths(HELD_OUT, at=hub.head())
    assert not (materialise(hub, hub.head(), tmp_path / "base") / HELD_OUT).parent.exists()


def test_who_comes_second_is_told(hub: LocalHub, tmp_path: Path) -> None:
    state = read_state(hub)
    file = write_held_out(MADE, tmp_path / "file")
    publish_held_out(hub, state, file)
    with pytest.raises(StaleParent):
        publish_held_out(hub, state, file)


GOOD = {VERSION: to_json(TERMS).decode()}


@pytest.mark.parametrize(
    "metadata, wholes, reason",
    [
        ({}, hashes(1), f"not of the kind {VERSION}; upgrade coldfusion"),
        ({VERSION: "{}"}, hashes(1), "Terms lacks field 'num_texts'"),
        ({VERSION: GOOD[VERSION].replace("ab" * 16, "xy")}, hashes(1), "the salt is not 32 hex digits"),
        ({VERSION: GOOD[VERSION].replace('"thin": 1', '"thin": 0')}, hashes(1), "thin 0 is below 1"),
        (GOOD, hashes(2, 1), "wholes is not sorted"),
        (GOOD, hashes(1, 2).reshape(1, 2), "wholes is not a row of 64-bit numbers"),
        (GOOD, np.array([1.0]), "wholes is not a row of 64-bit numbers"),
    ],
)
def test_a_strangers_file_is_not_believed(
    metadata: dict[str, str], wholes: np.ndarray, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    save_file({"wholes": wholes, "pieces": hashes()}, path, metadata)
    with pytest.raises(ManifestError, match=f"^{HELD_OUT}: .*{reason}"):
        read_held_out(path)


def test_what_is_no_such_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"<html>")
    with pytest.raises(ManifestError, match=f"^{HELD_OUT}: not a safetensors file"):
        read_held_out(tmp_path / "file")


def test_a_file_that_is_too_large_is_not_fetched(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    there = [PathInfo(path=HELD_OUT, size=MAX_BYTES + 1, digest="x")]
    monkeypatch.setattr(LocalHub, "paths", lambda *_, **__: there)
    monkeypatch.setattr(LocalHub, "fetch", None)
    with pytest.raises(ManifestError, match="33,554,433 bytes, at most 33,554,432 are read"):
        fetch_held_out(hub, at=hub.head())
