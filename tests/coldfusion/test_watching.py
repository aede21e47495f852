from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from coldfusion.config import Policy
from coldfusion.coordinator import Coordinator
from coldfusion.errors import HubUnavailable, RoundError, StaleParent
from coldfusion.federation import read_records
from coldfusion.outlook import Outlook
from coldfusion.records import Evaluation, Revision, RoundRecord
from coldfusion.watching import Watch
from hub_sync.local import LocalHub
from tests.helpers import contribute, finetuned, new_federation, small_body

BODY = small_body()


class Over(Exception):
    """Raised by a sleep to end a watch that would go on for ever."""


def watch(hub: LocalHub, room: Path, naps: list[Callable[[], object]], **parts: object) -> Watch:
    """A watch whose n-th sleep does the n-th thing instead, and ends after the last."""

    def sleep(_: float) -> None:
        if not naps:
            raise Over
        naps.pop(0)()

    coordinator = Coordinator(hub=hub, workdir=room / "work", evaluate=lambda *_: Evaluation())
    said: list[str] = []
    made = Watch(coordinator=coordinator, say=said.append, sleep=sleep, **parts)  # type: ignore[arg-type]
    return made


def run(watching: Watch) -> tuple[list[int], list[str]]:
    """(rounds that were run, what was said) until the watch is over."""
    rounds: list[int] = []
    said: list[str] = []
    object.__setattr__(watching, "say", said.append)
    with pytest.raises(Over):
        for record in watching.rounds():
            rounds.append(record.round_index)
    return rounds, said


@pytest.fixture
def hub(tmp_path: Path) -> LocalHub:
    hub = LocalHub(tmp_path / "store")
    new_federation(hub, tmp_path, BODY, Policy(quorum=2, deadline_hours=1.0))
    return hub


def give(hub: LocalHub, room: Path, name: str, seed: int = 1) -> None:
    contribute(hub, room / str(seed), finetuned(BODY, seed), name=name)


def test_every_round_is_run_as_it_fills(hub: LocalHub, tmp_path: Path) -> None:
    def both(seed: int) -> Callable[[], None]:
        return lambda: [give(hub, tmp_path, name, seed) for name in ("alice", "bob")] and None

    rounds, said = run(watch(hub, tmp_path, [both(1), both(2)]))
    assert rounds == [1, 2]
    assert said[0].startswith("round 1: 0 of 2 contributions are there; it waits for 2 more")


def test_the_same_news_is_told_once(hub: LocalHub, tmp_path: Path) -> None:
    _, said = run(watch(hub, tmp_path, [lambda: None] * 3))
    assert len(said) == 1


def test_at_the_deadline_a_round_is_run_with_less(hub: LocalHub, tmp_path: Path) -> None:
    give(hub, tmp_path, "alice")
    later = datetime.now(UTC) + timedelta(hours=1, minutes=1)
    assert isinstance(watch(hub, tmp_path, []).run_open_round(), Outlook)
    record = watch(hub, tmp_path, [], now=lambda: later).run_open_round()
    assert isinstance(record, RoundRecord) and record.num_accepted == 1


def test_a_round_that_fails_its_screens_is_tried_again_when_more_is_there(
    hub: LocalHub, tmp_path: Path
) -> None:
    bad = finetuned(BODY, 9)
    bad["norm"] = np.array([np.nan], np.float32)
    contribute(hub, tmp_path, bad, name="mallory")
    give(hub, tmp_path, "alice")
    rounds, said = run(watch(hub, tmp_path, [lambda: None, lambda: give(hub, tmp_path, "bob", 2)]))
    assert rounds == [1]
    assert sum("1 of 2 contributions needed are there" in line for line in said) == 1


def test_an_outage_is_waited_out(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("alice", "bob"):
        give(hub, tmp_path, name)
    head, outages = hub.head, [1, 1]

    def away() -> object:
        if outages:
            outages.pop()
            raise HubUnavailable("no answer")
        return head()

    monkeypatch.setattr(hub, "head", away)
    rounds, said = run(watch(hub, tmp_path, [lambda: None, lambda: None]))
    assert rounds == [1] and said.count("no answer; looking again in 60 s") == 2


def test_an_outage_after_the_commit_is_finished_first(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("alice", "bob"):
        give(hub, tmp_path, name)
    tag = hub.tag

    def away(name: str, *, at: Revision) -> None:
        if name == "round-0001":
            monkeypatch.undo()
            raise HubUnavailable("no answer")
        tag(name, at=at)

    monkeypatch.setattr(hub, "tag", away)
    run(watch(hub, tmp_path, [lambda: None]))
    assert hub.resolve("round-0001") == hub.head() and hub.proposals() == []
    assert [len(record.entries) for record in read_records(hub)] == [0, 2]


def test_a_contribution_that_replaces_a_refused_one_is_looked_at(hub: LocalHub, tmp_path: Path) -> None:
    give(hub, tmp_path, "alice")
    bad = finetuned(BODY, 9)
    bad["norm"] = np.array([np.nan], np.float32)
    refused = contribute(hub, tmp_path / "bad", bad, name="bob")

    def replace_it() -> None:
        hub.settle(refused.number, comment="withdrawn")
        give(hub, tmp_path, "bob", 2)

    rounds, _ = run(watch(hub, tmp_path, [replace_it]))
    assert rounds == [1] and read_records(hub)[1].num_accepted == 2


def test_what_is_no_federation_ends_the_watch(tmp_path: Path) -> None:
    hub = LocalHub(tmp_path / "other")
    (tmp_path / "file").write_text("x")
    hub.commit({"x": tmp_path / "file"}, message="m", parent=None)
    with pytest.raises(RoundError, match="not a federation"):
        next(watch(hub, tmp_path, []).rounds())


def test_a_second_coordinator_stops(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("alice", "bob"):
        give(hub, tmp_path, name)
    commit = hub.commit

    def beaten(*arguments: object, **named: object) -> object:
        monkeypatch.undo()
        watch(hub, tmp_path / "other", []).run_open_round()
        return commit(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(hub, "commit", beaten)
    with pytest.raises(StaleParent):
        next(watch(hub, tmp_path, []).rounds())


def test_a_coordinator_that_finds_the_contributions_closed_stops_too(hub: LocalHub, tmp_path: Path) -> None:
    for name in ("alice", "bob"):
        give(hub, tmp_path, name)
    late = watch(hub, tmp_path, []).coordinator
    state = late.finish()
    watch(hub, tmp_path / "other", []).run_open_round()
    with pytest.raises(StaleParent, match="round 1 was published by somebody else"):
        late.run_round(state=state)


def test_a_round_that_its_fuser_cannot_work_with_waits_for_more(tmp_path: Path) -> None:
    hub = LocalHub(tmp_path / "another")
    new_federation(hub, tmp_path / "another", BODY, Policy(quorum=2, fuser="krum"))

    def come(*names: str) -> Callable[[], object]:
        return lambda: [give(hub, tmp_path / "another", name) for name in names]

    rounds, said = run(watch(hub, tmp_path, [come("alice", "bob"), lambda: None, come("carol")]))
    assert rounds == [1]
    assert sum("Krum with f = 0 needs at least 3 deltas, there are 2" in text for text in said) == 1
