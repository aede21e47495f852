"""Rounds in trackio's own store. Where trackio is not installed, only that it is asked for."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from coldfusion.coordinator import STEPS, Coordinator
from coldfusion.errors import ConfigError, StorageError
from coldfusion.federation import read_records
from coldfusion.records import Evaluation
from contributors.tracking import PROJECT, Stopwatch, Tracker, open_tracker
from hub_sync.local import LocalHub
from tests.helpers import contribute, finetuned, new_federation, small_body


@pytest.fixture
def tracker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Tracker:
    """It keeps the folder that it was first imported with. Nobody is connected to."""
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("trackio goes to the network"))
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path_factory.getbasetemp() / "trackio"))
    pytest.importorskip("trackio")
    return open_tracker()


@pytest.fixture
def hub(tmp_path: Path) -> LocalHub:
    """A federation that has published one round."""
    body, hub = small_body(), LocalHub(tmp_path / "store", repo_id="lab/fed")
    new_federation(hub, tmp_path, body)
    contribute(hub, tmp_path, finetuned(body, 1), name="alice")
    Coordinator(hub=hub, workdir=tmp_path / "work", evaluate=lambda *_: Evaluation()).run_round()
    return hub


def logged(tracker: Tracker, hub: LocalHub, name: str) -> list[tuple[int, float]]:
    """(step, contributions fused) of everything that the newest run of that name holds."""
    run = tracker.storage.get_latest_run_record_by_name(PROJECT, name)
    rows = tracker.storage.get_logs(PROJECT, name, run_id=run["id"])
    return [(row["step"], row["round/fused"]) for row in rows]


def test_a_round_is_logged_once_however_often_that_is_tried(tracker: Tracker, hub: LocalHub) -> None:
    first, second = read_records(hub)
    tracker.log(hub, [first])
    tracker.log(hub, [first, second], more={1: {"seconds/fuse": 2.5}})
    tracker.log(LocalHub(hub.root, repo_id="lab/fed"), [first, second])  # after a restart
    assert logged(tracker, hub, "lab/fed") == [(0, 0), (1, 1)]
    assert tracker.storage.get_logs(PROJECT, "lab/fed")[-1]["seconds/fuse"] == 2.5
    assert str(tracker).startswith("trackio: TRACKIO_DIR=/") and any(tracker.folder.iterdir())


def test_a_federation_that_was_begun_anew_is_another_run(
    tracker: Tracker, hub: LocalHub, tmp_path: Path
) -> None:
    other = LocalHub(tmp_path / "other", repo_id="lab/other")
    new_federation(other, tmp_path / "room", small_body(1))
    tracker.log(hub, read_records(hub), name="same")
    tracker.log(other, read_records(other), name="same")
    runs = [run for run in tracker.storage.get_run_records(PROJECT) if run["name"] == "same"]
    assert len(runs) == 2 and logged(tracker, other, "same") == [(0, 0)]


def test_a_disk_that_refuses_is_one_line(hub: LocalHub, tmp_path: Path) -> None:
    class Full:
        @staticmethod
        def bulk_log(**_: object) -> None:
            raise OSError("No space left on device")

    with pytest.raises(StorageError, match="cannot write .*: No space left on device"):
        Tracker(Full, tmp_path).log(hub, read_records(hub))


def test_without_trackio_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    monkeypatch.setitem(sys.modules, "trackio.sqlite_storage", None)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match=r"pip install coldfusion\[trackio\]"):
        open_tracker()


def test_a_stopwatch_has_the_steps_of_the_newest_round() -> None:
    watch = Stopwatch()
    for step in (*STEPS, *STEPS):
        watch(step)
    assert set(watch.seconds) == {f"seconds/{step}" for step in STEPS[:-1]}
