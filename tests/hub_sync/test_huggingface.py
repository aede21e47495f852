"""The client behind our protocol where a Hub is not as it should be. When all is well: contracts/."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from json import JSONDecodeError
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # httpx2 since 2.0

from coldfusion.errors import HubError, HubUnavailable, NoAccess, NotOnHub, StorageError
from hub_sync.huggingface import HuggingFaceHub
from hub_sync.huggingface.failures import translating
from hub_sync.retrying import Patience
from tests.chaos import ChaosProxy
from tests.served import token_of

ClientOf = Callable[[str], HuggingFaceHub]
HASTY = Patience(attempts=1)
PATIENT = Patience(attempts=12, sleep=lambda seconds: time.sleep(min(seconds, 0.05)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"x" * 100_000)
    return path


@pytest.fixture
def lab(client_of: ClientOf, file: Path) -> HuggingFaceHub:
    """The owner's client, on a repo with one commit."""
    hub = client_of("lab")
    hub.commit({"model.safetensors": file}, message="1", parent=None)
    return hub


def test_without_a_token_one_is_asked_for(lab: HuggingFaceHub, file: Path) -> None:
    nobody = replace(lab, token="hf_nobody_0123456789abcdef")
    with pytest.raises(NoAccess, match="run `hf auth login` or set HF_TOKEN"):
        _ = nobody.author


def test_a_read_only_token_may_propose_but_not_commit(lab: HuggingFaceHub, file: Path) -> None:
    mallory = replace(lab, token=token_of("mallory"))
    head = lab.head()
    proposal = mallory.propose({"x.safetensors": file}, title="t", message="m", parent=head)
    assert proposal.author == "mallory" and lab.proposals() == [proposal]
    with pytest.raises(NoAccess, match="this token may not do that; is it read-only"):
        mallory.commit({"x.safetensors": file}, message="2", parent=head)
    with pytest.raises(NoAccess):
        mallory.tag("round-0001", at=head)
    assert lab.head() == head


def test_a_private_repo_is_not_there_for_others(client_of: ClientOf, file: Path) -> None:
    lab = replace(client_of("lab"), private=True)
    lab.commit({"x.safetensors": file}, message="1", parent=None)
    with pytest.raises(NotOnHub, match="no such repo, or it is private and this token does not open it"):
        replace(lab, token=token_of("alice")).head()


def test_a_gated_repo_says_that_it_is(lab: HuggingFaceHub) -> None:
    head = lab.head()
    lab.api.update_repo_settings(lab.repo_id, gated="manual")
    with pytest.raises(NoAccess, match="the repo is gated; ask for access"):
        replace(lab, token=token_of("alice")).fetch("model.safetensors", at=head)


def test_a_draft_is_not_listed_until_it_is_opened(lab: HuggingFaceHub) -> None:
    api = HfApi(endpoint=lab.endpoint, token=token_of("alice"))
    draft = api.create_pull_request(lab.repo_id, title="round 1: alice [000000000000]")
    assert lab.proposals() == []
    api.change_discussion_status(lab.repo_id, draft.num, "open")
    assert [proposal.number for proposal in lab.proposals()] == [draft.num]


def test_an_endpoint_that_does_not_answer_is_named(lab: HuggingFaceHub) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(HubUnavailable, match=f"{url}/lab/.*: reading main: "):
        replace(lab, endpoint=url, patience=HASTY).head()


def test_a_call_that_hangs_ends_at_the_time_limit(lab: HuggingFaceHub) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # takes connections and never answers
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(HubUnavailable):
            replace(lab, endpoint=url, timeout=0.5, patience=HASTY).head()
        assert time.monotonic() - started < 5


@pytest.fixture
def bad_day(lab: HuggingFaceHub) -> Iterator[ChaosProxy]:
    proxy = ChaosProxy(lab.endpoint or "", rate=0.3, seed=1, hang=0.3)
    yield proxy
    proxy.close()


def test_on_a_bad_day_every_verb_does_its_work_once(
    lab: HuggingFaceHub, bad_day: ChaosProxy, file: Path, tmp_path: Path
) -> None:
    hub = replace(lab, endpoint=bad_day.url, patience=PATIENT, timeout=5.0)
    (tmp_path / "note").write_text("a note")
    first = lab.head()
    second = hub.commit({"note": tmp_path / "note"}, message="2", parent=first)
    hub.tag("round-0001", at=second)
    numbers = [
        hub.propose({f"{i}.safetensors": file}, title=f"p{i}", message="m", parent=second).number
        for i in range(3)
    ]
    hub.settle(numbers[0], comment="thank you")
    hub.forget(numbers[0])
    assert hub.fetch("note", at=second).read_text() == "a note"
    # What a client sees that nobody disturbs:
    assert [c.title for c in lab.api.list_repo_commits(lab.repo_id)][:2] == ["2", "1"]
    assert [proposal.number for proposal in lab.proposals()] == numbers[1:] and len(set(numbers)) == 3
    assert lab.resolve("round-0001") == second and lab.settled() == []
    details = lab.api.get_discussion_details(lab.repo_id, numbers[0])
    assert [event.type for event in details.events] == ["comment", "commit", "comment", "status-change"]
    assert sum(bad_day.faults.values()) - bad_day.faults["none"] >= 5


def test_a_pull_request_that_was_closed_before_its_answer_came_is_not_opened_twice(
    lab: HuggingFaceHub, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = lab.api.create_commit
    tries: list[int] = []

    def lost(*arguments: object, **named: object) -> object:
        info = create(*arguments, **named)  # type: ignore[arg-type]
        tries.append(info.pr_num or 0)
        lab.settle(tries[-1], comment="fused")
        raise httpx.ReadError("connection reset")

    hub = replace(lab, patience=PATIENT)
    monkeypatch.setattr(hub.api, "create_commit", lost)
    proposal = hub.propose({"x.safetensors": file}, title="t", message="m", parent=lab.head())
    assert [proposal.number] == tries and lab.proposals() == []


def test_what_is_fetched_goes_into_the_cache_that_was_named(lab: HuggingFaceHub, tmp_path: Path) -> None:
    hub = replace(lab, cache=tmp_path / "fetched")
    assert hub.fetch("model.safetensors", at=lab.head()).is_relative_to(tmp_path / "fetched")


@pytest.mark.parametrize(
    "foreign", [OSError(errno.ENAMETOOLONG, "File name too long"), ValueError("bad name")]
)
def test_what_waiting_does_not_help_is_no_outage(foreign: Exception) -> None:
    with pytest.raises(HubError) as caught, translating("fetching"):
        raise foreign
    assert not isinstance(caught.value, HubUnavailable)


def test_the_disk_of_this_machine_is_not_the_hubs_fault() -> None:
    refusal = "fetching: this machine's disk refuses: No space left"
    with pytest.raises(StorageError, match=refusal), translating("fetching"):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "foreign",
    [JSONDecodeError("Expecting value", "", 0), KeyError("commitUrl"), RuntimeError("xet"), OSError("short")],
)
def test_what_makes_no_sense_is_an_outage(foreign: Exception) -> None:
    with pytest.raises(HubUnavailable) as caught, translating("reading"):
        raise foreign
    assert caught.value.__cause__ is foreign


def test_our_own_errors_pass() -> None:
    with pytest.raises(NotOnHub), translating("reading"):
        raise NotOnHub("gone")
    assert issubclass(NotOnHub, HubError)
