import io
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from rich.console import Console

from coldfusion.config import Policy
from coldfusion.coordinator import Coordinator
from coldfusion.errors import HubUnavailable, NotOnHub
from coldfusion.liveview import LiveView
from coldfusion.overview import Overview
from coldfusion.records import Evaluation
from hub_sync.local import LocalHub
from tests.helpers import contribute, finetuned, new_federation, small_body

BODY = small_body()


class Over(Exception):
    """Raised by a sleep to end a view that would go on for ever."""


@pytest.fixture
def hub(tmp_path: Path) -> LocalHub:
    hub = LocalHub(tmp_path / "store")
    new_federation(hub, tmp_path, BODY, Policy(quorum=2))
    return hub


def watch(hub: LocalHub, naps: list[Callable[[], object]], **parts: object) -> tuple[list[str], list[float]]:
    """(what is shown, how long it slept) where the n-th sleep does the n-th thing, and the last ends it."""
    slept = list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if not naps:
            raise Over
        naps.pop(0)()

    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=bool(parts.pop("terminal", False)))
    noon = datetime(2026, 11, 25, 12, 0)
    view = LiveView(hub=hub, console=console, every=5.0, sleep=sleep, now=lambda: noon, **parts)  # type: ignore[arg-type]
    with pytest.raises(Over):
        view.run()
    return out.getvalue().splitlines(), slept


def give(hub: LocalHub, room: Path, *names: str) -> Callable[[], None]:
    return lambda: [contribute(hub, room / n, finetuned(BODY, 1), name=n) for n in names] and None


def nothing() -> None:
    pass


def fuse(hub: LocalHub, room: Path) -> None:
    Coordinator(hub=hub, workdir=room / "work", evaluate=lambda *_: Evaluation()).run_round()


def test_elsewhere_than_in_a_terminal_news_are_lines_and_each_is_told_once(
    hub: LocalHub, tmp_path: Path
) -> None:
    naps = [
        nothing,
        give(hub, tmp_path, "ann"),
        nothing,
        give(hub, tmp_path, "bob"),
        lambda: fuse(hub, tmp_path),
    ]
    lines, slept = watch(hub, naps)
    told = [
        line.removeprefix("2026-11-25 12:00:00 ").replace(str(tmp_path / "store"), "STORE") for line in lines
    ]
    assert told == [
        "STORE: base of round-0000",
        "round 1: 0 of 2 contributions are there; it waits for 2 more; mean, outer_lr 1",
        "round 1: 1 of 2 contributions are there; it waits for 1 more; mean, outer_lr 1",
        "there: ann",
        "round 1: 2 of 2 contributions are there; it is ready to be fused; mean, outer_lr 1",
        "there: ann, bob",
        "STORE: base of round-0001, 2 of 2 fused",
        "round 2: 0 of 2 contributions are there; it waits for 2 more; mean, outer_lr 1",
    ]
    assert slept == [5.0] * 6


def test_an_outage_is_told_and_outlived_as_long_as_the_hub_asks_for(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        def head(self: LocalHub) -> None:
            raise HubUnavailable("the Hub is away", retry_after=60.0)

        monkeypatch.setattr(LocalHub, "head", head)

    lines, slept = watch(hub, [away, nothing, monkeypatch.undo])
    assert [line.split(" ", 2)[2] for line in lines][2] == "the Hub is away; looking again in 60 s"
    assert lines[3:] == lines[:2] and slept == [5.0, 60.0, 60.0, 5.0]


def test_an_outage_at_the_start_is_outlived_too(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def proposals(self: LocalHub) -> None:
        raise HubUnavailable("not yet")

    monkeypatch.setattr(LocalHub, "proposals", proposals)
    lines, _ = watch(hub, [monkeypatch.undo])
    assert "not yet" in lines[0] and "base of round-0000" in lines[1]


def test_in_a_terminal_it_is_a_picture_that_fits(hub: LocalHub, tmp_path: Path) -> None:
    lines, _ = watch(hub, [give(hub, tmp_path, "ann")], terminal=True)
    shown = "\n".join(lines)
    assert "rounds" in shown and "there: ann" in shown
    assert "looked at 12:00:00, again in 5 s; Ctrl-C ends this" in shown


def test_records_are_read_again_only_where_main_has_moved(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched, changes = list[str](), list[Overview]()
    real = LocalHub.fetch

    def fetch(self: LocalHub, path: str, *, at: str) -> Path:
        fetched.append(path)
        return real(self, path, at=at)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalHub, "fetch", fetch)
    watch(hub, [nothing, nothing, nothing], on_change=changes.append)
    assert fetched.count("rounds/0000/record.json") == 2  # its state and the list of records, once
    assert len(changes) == 1


def test_a_repo_that_is_not_there_ends_it(tmp_path: Path) -> None:
    view = LiveView(hub=LocalHub(tmp_path / "none"), console=Console(file=io.StringIO()))
    with pytest.raises(NotOnHub):
        view.run()
