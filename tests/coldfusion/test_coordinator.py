import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from coldfusion.admission import contribution_paths
from coldfusion.config import Policy, dump
from coldfusion.coordinator import STEPS, Coordinator
from coldfusion.errors import HubError, NotOnHub, NotYet, RoundError, StaleParent, StorageError
from coldfusion.federation import read_records, read_state
from coldfusion.hub import PathInfo
from coldfusion.records import Evaluation, Revision, RoundRecord, TaskScore, Verdict
from hub_sync.local import LocalHub
from tests.helpers import contribute, finetuned, new_federation, propose, signed_in, small_body

BODY = small_body()


@pytest.fixture
def hub(tmp_path: Path) -> LocalHub:
    return LocalHub(tmp_path / "store")


@pytest.fixture
def base(hub: LocalHub, tmp_path: Path) -> Path:
    return new_federation(hub, tmp_path, BODY)


def no_scores(_: Path, __: Path | None) -> Evaluation:
    return Evaluation()


def coordinator(hub: LocalHub, room: Path, **parts: object) -> Coordinator:
    settings: dict[str, object] = {"evaluate": no_scores, **parts}
    return Coordinator(hub=hub, workdir=room / "work", **settings)  # type: ignore[arg-type]


def reasons(record: RoundRecord) -> dict[str, str]:
    return {entry.contributor: "; ".join(entry.reasons) for entry in record.entries}


def published(hub: LocalHub) -> dict[str, np.ndarray]:
    return load_file(hub.fetch("model.safetensors", at=hub.head()))


def test_a_round_publishes_the_mean_of_what_was_contributed(
    hub: LocalHub, base: Path, tmp_path: Path
) -> None:
    bodies = [finetuned(BODY, seed) for seed in (1, 2)]
    for name, body in zip(("bob", "alice"), bodies, strict=True):
        contribute(hub, tmp_path, body, name=name)
    record = coordinator(hub, tmp_path).run_round()
    for name, tensor in published(hub).items():
        if name != "position_ids":
            mean = np.mean([np.float64(body[name]) for body in bodies], axis=0).astype(np.float32)
            np.testing.assert_array_max_ulp(tensor, mean, maxulp=1)
    assert [(e.contributor, e.weight) for e in record.entries] == [("alice", 1.0), ("bob", 1.0)]


def test_after_a_round_everything_is_tagged_recorded_and_settled(
    hub: LocalHub, base: Path, tmp_path: Path
) -> None:
    number = contribute(hub, tmp_path, finetuned(BODY, 1), name="alice").number
    parent = hub.head()
    record = coordinator(hub, tmp_path).run_round()
    assert hub.resolve("round-0001") == hub.head() != parent == hub.resolve("round-0000")
    assert read_records(hub)[1] == record and record.parent == parent
    assert hub.proposals() == []
    (comment,) = hub.discussions.comments(hub.repo_id, number)
    assert comment == "Fused into round-0001 with weight 1, one of 1. Thank you."
    assert hub.fetch("config.json", at=hub.head()).read_text() == "{}"


def test_rounds_build_on_each_other(hub: LocalHub, base: Path, tmp_path: Path) -> None:
    body = BODY
    for index in (1, 2):
        body = finetuned(body, index)
        contribute(hub, tmp_path / str(index), body, name="alice")
        assert coordinator(hub, tmp_path).run_round().round_index == index
    for name, tensor in body.items():
        np.testing.assert_array_equal(published(hub)[name], tensor)  # of one contributor, exactly


def test_the_steps_come_in_order(hub: LocalHub, base: Path, tmp_path: Path) -> None:
    contribute(hub, tmp_path, finetuned(BODY, 1), name="alice")
    steps: list[str] = []
    coordinator(hub, tmp_path, on_step=steps.append).run_round()
    assert tuple(steps) == STEPS


def test_the_candidate_is_scored_as_a_whole_checkpoint_and_the_scores_are_published(
    hub: LocalHub, base: Path, tmp_path: Path
) -> None:
    contribute(hub, tmp_path, finetuned(BODY, 1), name="alice")
    score = TaskScore(task="t", held_out=True, protocol="probe", seed=0, score=50.0, num_examples=4)

    def evaluate(candidate: Path, before: Path | None) -> Evaluation:
        for folder in (candidate, before):
            assert folder and {"config.json", "model.safetensors"} <= {path.name for path in folder.iterdir()}
        return Evaluation(scores=(score,))

    coordinator(hub, tmp_path, evaluate=evaluate).run_round()
    assert read_state(hub).record.evaluation.scores == (score,)
    assert "| probe | held-out | 50.00 |" in hub.fetch("README.md", at=hub.head()).read_text()


def falsify(**says: object) -> Callable[[LocalHub, Path, Path], None]:
    """A contribution of mallory's whose manifest does not say the truth."""

    def attack(hub: LocalHub, room: Path, base: Path) -> None:
        contribute(hub, room, finetuned(BODY, 9), name="mallory", says=says)

    return attack


def in_the_name_of(name: str) -> Callable[[LocalHub, Path, Path], None]:
    """What `name` would contribute, opened by mallory before her."""

    def attack(hub: LocalHub, room: Path, base: Path) -> None:
        proposal = contribute(hub, room / "theft", finetuned(BODY, 9), name=name)
        files = {p: hub.fetch(p, at=proposal.revision) for p in contribution_paths(name)}
        hub.settle(proposal.number, comment="see the next one")
        signed_in(hub, "mallory").propose(files, title=proposal.title, message="m", parent=hub.head())

    return attack


def with_tensors(change: Callable[[dict[str, np.ndarray]], None]) -> Callable[[LocalHub, Path, Path], None]:
    """A contribution of mallory's whose delta holds other tensors."""

    def attack(hub: LocalHub, room: Path, base: Path) -> None:
        tensors = {name: np.zeros(t.shape, np.int32) for name, t in BODY.items()}
        change(tensors)
        save_file(tensors, room / "delta")
        propose(hub, room / "delta", room / "manifest", {"contributor": "mallory"})

    return attack


def nan(hub: LocalHub, room: Path, base: Path) -> None:
    body = finetuned(BODY, 9)
    body["norm"] = np.array([np.nan], np.float32)
    contribute(hub, room, body, name="mallory")


def infinite_by_bits(hub: LocalHub, room: Path, base: Path) -> None:
    distance = np.array(0x7F800000 - BODY["scale"].view(np.int32), np.int32)  # to +Inf, in ulps
    with_tensors(lambda t: t.update(scale=distance))(hub, room, base)


def and_also(path: str) -> Callable[[LocalHub, Path, Path], None]:
    """A good contribution of mallory's that brings one more file."""

    def attack(hub: LocalHub, room: Path, base: Path) -> None:
        proposal = contribute(hub, room, finetuned(BODY, 9), name="mallory")
        files = {p: hub.fetch(p, at=proposal.revision) for p in contribution_paths("mallory")}
        hub.settle(proposal.number, comment="see the next one")
        files[path] = base / "model.safetensors"
        signed_in(hub, "mallory").propose(files, title=proposal.title, message="m", parent=hub.head())

    return attack


def instead(folder: str) -> Callable[[LocalHub, Path, Path], None]:
    """A good contribution of mallory's in another folder."""

    def attack(hub: LocalHub, room: Path, base: Path) -> None:
        proposal = contribute(hub, room, finetuned(BODY, 9), name="mallory")
        paths = contribution_paths("mallory")
        files = {folder + p.rsplit("/", 1)[1]: hub.fetch(p, at=proposal.revision) for p in paths}
        hub.settle(proposal.number, comment="see the next one")
        signed_in(hub, "mallory").propose(files, title=proposal.title, message="m", parent=hub.head())

    return attack


def manifest_of(text: str) -> Callable[[LocalHub, Path, Path], None]:
    def attack(hub: LocalHub, room: Path, base: Path) -> None:
        (room / "manifest").write_text(text)
        files = {
            "contributions/mallory/manifest.json": room / "manifest",
            "contributions/mallory/delta.safetensors": base / "model.safetensors",
        }
        title = f"round 1: mallory [{'0' * 12}]"
        signed_in(hub, "mallory").propose(files, title=title, message="m", parent=hub.head())

    return attack


ATTACKS = {
    "nan": (nan, "holds NaN or Inf"),
    "inf through the codec": (infinite_by_bits, "holds NaN or Inf"),
    "wrong digest": (falsify(sha256="0" * 64), "not the file that the manifest describes"),
    "wrong size": (falsify(size=1), "not the file that the manifest describes"),
    "another base": (falsify(base="0" * 40), "made for round 1 from base 000000000000"),
    "another's name": (
        in_the_name_of("alice"),
        "'mallory' contributes as mallory or mallory--NAME, not as 'alice'",
    ),
    "another round": (falsify(round_index=7), "made for round 7"),
    "a tensor less": (with_tensors(lambda t: t.pop("norm") is None), "1 tensors are missing, first 'norm'"),
    "a tensor more": (
        with_tensors(lambda t: t.update(head=np.zeros(1, np.int32))),
        "not in the base, first 'head'",
    ),
    "broadcast shape": (
        with_tensors(lambda t: t.update(embed=np.zeros((1, 3), np.int32))),
        "embed: I32[1, 3], expected I32[11, 3]",
    ),
    "another dtype": (with_tensors(lambda t: t.update(norm=np.zeros(1))), "norm: F64[1], expected I32[1]"),
    "touches the model": (and_also("config.json"), "changes 'config.json'"),
    "brings a pickle": (and_also("contributions/mallory/x.pkl"), "mallory/x.pkl"),
    "manifest of nonsense": (manifest_of("{"), "not JSON"),
    "manifest of another kind": (manifest_of(json.dumps({"contributor": "mallory"})), "lacks field"),
    "manifest too large": (manifest_of(" " * 70_000), "70000 bytes, at most 65536"),
    "a reason without end": (manifest_of(json.dumps({"x" * 60_000: 1})), "has no field 'xxx"),
    "a header without end": (
        with_tensors(lambda t: t.update({"x" * 80_000: np.zeros(1, np.int32)})),
        "not a safetensors file: header of 80",
    ),
    "a folder that no disk takes": (
        instead(f"contributions/{'x' * 250}/"),
        "not the two files of one contributor",
    ),
    "a folder that is no name": (instead("contributions/a:b/"), "not the two files of one contributor"),
    "somebody else's folder": (
        instead("contributions/carol/"),
        "the manifest is of 'mallory', its folder of 'carol'",
    ),
}


@pytest.mark.parametrize("attack, reason", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_is_refused_with_its_reason_and_the_honest_are_not(
    hub: LocalHub, base: Path, tmp_path: Path, attack: Callable[..., None], reason: str
) -> None:
    honest = finetuned(BODY, 1)
    contribute(hub, tmp_path, honest, name="alice")
    attack(hub, tmp_path, base)
    record = coordinator(hub, tmp_path).run_round()
    found = reasons(record)
    assert found.pop("alice") == ""
    assert reason in "".join(found.values())
    assert all(len(text) <= 1000 for text in found.values())  # however much a stranger has to say
    np.testing.assert_array_equal(published(hub)["embed"], honest["embed"])
    assert hub.proposals() == []
    assert reason in hub.discussions.comments(hub.repo_id, record.entries[-1].proposal or 0)[-1]


def test_a_delta_over_the_cap_is_refused_before_it_is_fetched(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_federation(hub, tmp_path, BODY, Policy(max_delta_bytes=1000))
    contribute(hub, tmp_path, finetuned(BODY, 1), name="alice")
    big = {name: np.zeros(500, np.int32) for name in BODY}
    save_file(big, tmp_path / "delta")
    fields = {"contributor": "mallory"}
    propose(hub, tmp_path / "delta", tmp_path / "manifest", fields)
    fetched: list[str] = []
    fetch = hub.fetch
    monkeypatch.setattr(hub, "fetch", lambda path, at: fetched.append(path) or fetch(path, at=at))
    record = coordinator(hub, tmp_path).run_round()
    assert "at most 1000 are accepted" in reasons(record)["mallory"]
    assert "contributions/mallory/delta.safetensors" not in fetched


def test_a_codec_that_the_policy_does_not_name_is_refused(hub: LocalHub, tmp_path: Path) -> None:
    new_federation(hub, tmp_path, BODY, Policy(codecs=["float32"]))
    contribute(hub, tmp_path, finetuned(BODY, 1), name="alice", codec="float32")
    contribute(hub, tmp_path, finetuned(BODY, 2), name="bob", codec="exact")
    record = coordinator(hub, tmp_path).run_round()
    assert reasons(record) == {"alice": "", "bob": "codec 'exact'; this federation accepts float32"}


def test_the_same_contributor_counts_once(hub: LocalHub, base: Path, tmp_path: Path) -> None:
    for seed in (1, 2):
        contribute(hub, tmp_path / str(seed), finetuned(BODY, seed), name="alice")
    record = coordinator(hub, tmp_path).run_round()
    assert record.num_accepted == 1 and "already contributes" in record.entries[1].reasons[0]
    np.testing.assert_array_equal(published(hub)["embed"], finetuned(BODY, 1)["embed"])


def test_a_pull_request_that_is_no_contribution_is_left_alone(
    hub: LocalHub, base: Path, tmp_path: Path
) -> None:
    contribute(hub, tmp_path, finetuned(BODY, 1), name="alice")
    other = hub.propose({"README.md": base / "config.json"}, title="typo", message="m", parent=hub.head())
    record = coordinator(hub, tmp_path).run_round()
    assert len(record.entries) == 1
    assert hub.proposals() == [other]


def test_who_failed_before_submitting_is_in_the_record(hub: LocalHub, base: Path, tmp_path: Path) -> None:
    contribute(hub, tmp_path, finetuned(BODY, 1), name="alice")
    record = coordinator(hub, tmp_path).run_round([Verdict(contributor="bob", reasons=("out of memory",))])
    assert reasons(record) == {"alice": "", "bob": "out of memory"}


def test_below_the_quorum_nothing_happens(hub: LocalHub, tmp_path: Path) -> None:
    base = new_federation(hub, tmp_path, BODY, Policy(quorum=2))
    contribute(hub, tmp_path, finetuned(BODY, 1), name="alice")
    nan(hub, tmp_path, base)
    head = hub.head()
    with pytest.raises(RoundError, match=r"round 1: 1 of 2 contributions needed .*mallory: holds NaN"):
        coordinator(hub, tmp_path).run_round()
    assert hub.head() == head and len(hub.proposals()) == 2


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (
            Policy(fuser="krum", fuser_options={"f": 1}),
            "3 contributions are there; Krum .* at least 5",
        ),
        (Policy(fuser="slerp"), "3 contributions are there; slerp takes exactly 2 deltas"),
    ],
)
def test_a_fuser_that_cannot_work_with_what_is_there_waits(
    hub: LocalHub, tmp_path: Path, policy: Policy, why: str
) -> None:
    new_federation(hub, tmp_path, BODY, policy)
    for seed, name in enumerate("abc"):
        contribute(hub, tmp_path, finetuned(BODY, seed), name=name)
    head = hub.head()
    with pytest.raises(NotYet, match=f"^round 1: {why}"):
        coordinator(hub, tmp_path).run_round()
    assert hub.head() == head and len(hub.proposals()) == 3
    assert not list((tmp_path / "work" / "candidate").glob("*.safetensors"))


def test_whoever_publishes_second_stops(hub: LocalHub, base: Path, tmp_path: Path) -> None:
    contribute(hub, tmp_path, finetuned(BODY, 1), name="alice")

    def somebody_else_publishes(step: str) -> None:
        if step == "publish":
            coordinator(hub, tmp_path / "other").run_round()

    with pytest.raises(StaleParent):
        coordinator(hub, tmp_path, on_step=somebody_else_publishes).run_round()
    assert [record.round_index for record in read_records(hub)] == [0, 1]


def test_a_repo_that_is_no_federation_is_refused(hub: LocalHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    hub.commit({"README.md": tmp_path / "file"}, message="m", parent=None)
    with pytest.raises(RoundError, match="not a federation: no federation.yaml"):
        coordinator(hub, tmp_path).run_round()


def test_a_disk_that_refuses_is_one_clear_line(hub: LocalHub, base: Path, tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file where a directory should be")
    with pytest.raises(StorageError, match="cannot write .*work"):
        coordinator(hub, tmp_path).run_round()


def test_a_contribution_to_an_older_round_is_refused_unread(
    hub: LocalHub, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = contribute(hub, tmp_path / "late", finetuned(BODY, 2), name="bob")
    hub.settle(late.number, comment="see the next one")
    contribute(hub, tmp_path, finetuned(BODY, 1), name="alice")
    coordinator(hub, tmp_path).run_round()
    again = signed_in(hub, "bob").propose(
        {p: hub.fetch(p, at=late.revision) for p in contribution_paths("bob")},
        title=late.title,
        message="m",
        parent=hub.head(),
    )
    contribute(hub, tmp_path / "2", finetuned(BODY, 3), name="alice")
    listed: list[str] = []
    paths = hub.paths
    monkeypatch.setattr(hub, "paths", lambda prefix="", *, at: listed.append(at) or paths(prefix, at=at))
    record = coordinator(hub, tmp_path).run_round()
    assert reasons(record) == {"alice": "", "bob": "made for round 1; the open round is 2"}
    assert again.revision not in listed


def test_only_accounts_that_may_contribute_do(hub: LocalHub, tmp_path: Path) -> None:
    new_federation(hub, tmp_path, BODY, Policy(contributors=["alice"]))
    for name in ("alice", "alice--more", "bob"):
        contribute(hub, tmp_path, finetuned(BODY, 1), name=name)
    assert reasons(coordinator(hub, tmp_path).run_round()) == {
        "alice": "",
        "alice--more": "",
        "bob": "'bob' is not among the accounts that may contribute",
    }


def test_contributions_are_deleted_when_their_retention_is_over(hub: LocalHub, tmp_path: Path) -> None:
    new_federation(hub, tmp_path, BODY, Policy(retention=1))
    kept: list[list[int]] = []
    for seed in (1, 2, 3):
        contribute(hub, tmp_path / str(seed), finetuned(BODY, seed), name="alice")
        coordinator(hub, tmp_path).run_round()
        kept.append(hub.settled())
    assert kept == [[1], [2], [3]]


def test_a_retention_that_becomes_shorter_is_caught_up_with(hub: LocalHub, tmp_path: Path) -> None:
    new_federation(hub, tmp_path, BODY)
    for seed in (1, 2, 3, 4):
        if seed == 4:
            assert hub.settled() == [1, 2, 3]
            (tmp_path / "policy").write_text(dump(Policy(retention=1)))
            hub.commit({"federation.yaml": tmp_path / "policy"}, message="shorter", parent=hub.head())
        contribute(hub, tmp_path / str(seed), finetuned(BODY, seed), name="alice")
        coordinator(hub, tmp_path).run_round()
    assert hub.settled() == [4]


def test_a_contribution_that_was_merged_by_mistake_does_no_harm(
    hub: LocalHub, base: Path, tmp_path: Path
) -> None:
    stray = {path: base / "config.json" for path in contribution_paths("alice")}
    hub.commit(stray, message="merged by mistake", parent=hub.head())
    for seed in (1, 2):
        contribute(hub, tmp_path / str(seed), finetuned(BODY, seed), name="alice")
        assert reasons(coordinator(hub, tmp_path).run_round()) == {"alice": ""}


def test_one_that_is_taken_away_while_it_is_read_is_nobodys(
    hub: LocalHub, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contribute(hub, tmp_path, finetuned(BODY, 1), name="alice")
    gone, paths = contribute(hub, tmp_path, finetuned(BODY, 2), name="bob"), hub.paths

    def taken_away(prefix: str = "", *, at: Revision) -> list[PathInfo]:
        if at == gone.revision:
            raise NotOnHub("gone")
        return paths(prefix, at=at)

    monkeypatch.setattr(hub, "paths", taken_away)
    assert reasons(coordinator(hub, tmp_path).run_round()) == {"alice": ""}


def test_one_that_cannot_be_closed_does_not_stop_the_rounds(
    hub: LocalHub, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(proposal: int, *, comment: str) -> None:
        raise HubError("locked")

    contribute(hub, tmp_path, finetuned(BODY, 1), name="alice")
    troubles: list[str] = []
    monkeypatch.setattr(hub, "settle", refused)
    record = replace(coordinator(hub, tmp_path), on_trouble=troubles.append).run_round()
    assert record.num_accepted == 1 and troubles == ["locked"]
    monkeypatch.undo()
    coordinator(hub, tmp_path).finish()
    assert hub.proposals() == []
