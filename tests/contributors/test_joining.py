from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from coldfusion.config import Policy
from coldfusion.coordinator import Coordinator
from coldfusion.errors import ConfigError, ContributionError, DataError, HubUnavailable
from coldfusion.federation import Start, found, read_state
from coldfusion.heldout import HeldOut, Terms, publish_held_out, write_held_out
from coldfusion.records import Evaluation
from contributors.config import JoinConfig, TrainingConfig
from contributors.joining import Joiner, name_for
from contributors.likeness import likeness
from contributors.reporting import Milestones, unheard
from hub_sync.local import LocalHub
from hub_sync.outbox import Outbox
from tests.tasks import write_csv, write_task

QUICK = TrainingConfig(lr=3e-3, epochs=1, batch_size=8, max_length=16, bf16=False)


class Over(Exception):
    """Ends a watch that would go on for ever."""


@pytest.fixture
def hub(tiny_base: Path, tmp_path: Path) -> LocalHub:
    hub = LocalHub(tmp_path / "store", author="lab")
    found(hub, Start(tiny_base), Policy(), evaluate=lambda *_: Evaluation(), workdir=tmp_path / "founding")
    return hub


@pytest.fixture
def joiner(hub: LocalHub, tmp_path: Path) -> Joiner:
    """alice, who always says yes. What is said is in `said`."""
    return Joiner(
        hub=LocalHub(hub.root, author="alice"),
        contributor="alice",
        data=str(write_task(tmp_path / "secret-place", seed=0) / "train.csv"),
        config=JoinConfig(training=QUICK),
        outbox=Outbox(tmp_path / "outbox", address=hub.address, contributor="alice"),
        consent=lambda text: True,
        say=lambda line: None,
        report=unheard,
    )


def coordinate(hub: LocalHub, room: Path) -> None:
    Coordinator(hub=hub, workdir=room / "work", evaluate=lambda *_: Evaluation()).run_round()


def test_a_contribution_is_shown_in_full_agreed_to_and_submitted(joiner: Joiner, hub: LocalHub) -> None:
    shown: list[str] = []
    proposal = replace(joiner, consent=lambda text: shown.append(text) or True).contribute()  # type: ignore[func-returns-value]
    assert proposal is not None and hub.proposals() == [proposal]
    (text,) = shown
    delta = next(info for info in hub.paths("contributions/", at=proposal.revision))
    assert f"contributions/alice/delta.safetensors  {delta.size:,} bytes" in text
    manifest = hub.fetch("contributions/alice/manifest.json", at=proposal.revision).read_text().strip()
    assert manifest in text and f"titled {proposal.title!r}" in text
    for secret in ("secret-place", "good", "soup", "train.csv"):
        assert secret not in text


def test_a_no_leaves_nothing_anywhere(joiner: Joiner, hub: LocalHub, tmp_path: Path) -> None:
    assert replace(joiner, consent=lambda text: False).contribute() is None
    assert hub.proposals() == [] and not list((tmp_path / "outbox").rglob("*.safetensors"))


def test_one_round_one_contribution(joiner: Joiner, hub: LocalHub) -> None:
    said: list[str] = []
    assert joiner.contribute() is not None
    assert replace(joiner, say=said.append).contribute() is None
    assert said == ["alice contributes to round 1 already"] and len(hub.proposals()) == 1


def test_what_the_federation_would_refuse_does_not_leave(
    hub: LocalHub, tiny_base: Path, joiner: Joiner, tmp_path: Path
) -> None:
    other = LocalHub(tmp_path / "other", author="lab")
    policy = Policy(contributors=["bob"])
    found(other, Start(tiny_base), policy, evaluate=lambda *_: Evaluation(), workdir=tmp_path / "founding")
    alice = LocalHub(other.root, author="alice")
    with pytest.raises(ContributionError, match="'alice' is not among the accounts that may contribute"):
        replace(joiner, hub=alice).contribute()
    assert other.proposals() == []


def test_an_outage_keeps_the_contribution_in_the_outbox_and_it_is_submitted_once(
    joiner: Joiner, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    joiner = replace(joiner, consent=lambda text: asked.append(text) or True)  # type: ignore[func-returns-value]

    def away(*_: object, **__: object) -> None:
        raise HubUnavailable("no answer")

    with monkeypatch.context() as outage:
        outage.setattr(joiner.hub, "propose", away)
        with pytest.raises(HubUnavailable, match="is kept in .* and is submitted when this runs again"):
            joiner.contribute()
    assert hub.proposals() == []
    with monkeypatch.context() as once:  # it is not made again, and its owner not asked again
        once.setattr("contributors.joining.prepare", away)
        proposal = joiner.contribute()
    assert proposal is not None and hub.proposals() == [proposal] and len(asked) == 1


def test_what_was_made_from_other_data_is_never_submitted(
    joiner: Joiner, hub: LocalHub, tmp_path: Path
) -> None:
    def interrupted(text: str) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(joiner, consent=interrupted).contribute()
    other = replace(joiner, data=str(write_task(tmp_path / "other", seed=5, train=30) / "train.csv"))
    proposal = other.contribute()
    assert proposal is not None
    assert (
        '"num_examples": 30'
        in hub.fetch("contributions/alice/manifest.json", at=proposal.revision).read_text()
    )


@pytest.mark.parametrize("wrong", ["account", "data"])
def test_what_can_be_known_before_the_base_is_fetched_is(
    joiner: Joiner, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setattr("contributors.joining.materialise", None)
    wrongly = {"account": {"contributor": "bob"}, "data": {"data": "gone.csv"}}[wrong]
    with pytest.raises((ContributionError, DataError)):
        replace(joiner, **wrongly).contribute()  # type: ignore[arg-type]


def hold_out(hub: LocalHub, room: Path, *texts: str) -> None:
    """Publish these texts as held-out ones."""
    hashes = likeness([(text,) for text in texts], bytes(16)).thinned(1)
    terms = Terms(tasks=("pears",), sources=(), num_texts=len(texts), thin=1, salt="00" * 16)
    publish_held_out(hub, read_state(hub), write_held_out(HeldOut(terms, *hashes), room / "held-out"))


@pytest.fixture
def rows(tmp_path: Path) -> list[str]:
    """Forty texts of nine words."""
    return [" ".join(f"w{i}x{j}" for j in range(9)) for i in range(40)]


@pytest.fixture
def owner(joiner: Joiner, rows: list[str], tmp_path: Path) -> Joiner:
    """alice, with these texts."""
    labelled = [(text, i % 2) for i, text in enumerate(rows)]
    return replace(joiner, data=write_csv(tmp_path / "mine.csv", ["text", "label"], labelled))


def test_held_out_texts_are_left_out_and_only_their_owner_is_told(
    owner: Joiner, rows: list[str], hub: LocalHub, tmp_path: Path
) -> None:
    hold_out(hub, tmp_path, f"Really: {rows[3].upper()}!", rows[5])
    said: list[str] = []
    shown: list[str] = []
    owner = replace(owner, say=said.append, consent=lambda text: shown.append(text) or True)  # type: ignore[func-returns-value]
    proposal = owner.contribute()
    assert proposal is not None
    found = "2 of 40 texts are held-out texts or nearly so: left out"
    assert said[0] == found and f"the federation's held-out tasks (1): {found}. What was found" in shown[0]
    manifest = hub.fetch("contributions/alice/manifest.json", at=proposal.revision).read_text()
    assert '"num_examples": 38' in manifest and "held" not in manifest
    assert len(hub.paths("contributions/", at=proposal.revision)) == 2


def test_what_is_held_out_is_refused_before_the_base_is_fetched(
    owner: Joiner, rows: list[str], hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contributors.joining.materialise", None)
    hold_out(hub, tmp_path, *rows[:5])
    with pytest.raises(DataError, match="mine.csv: 5 of 40 texts are held-out texts"):
        owner.contribute()
    with pytest.raises(DataError, match="pears.csv: this federation holds out a task of that name"):
        replace(owner, data="pears.csv").contribute()


def test_what_was_made_before_its_texts_were_held_out_is_made_anew(
    owner: Joiner, rows: list[str], hub: LocalHub, tmp_path: Path
) -> None:
    def interrupted(text: str) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(owner, consent=interrupted).contribute()
    hold_out(hub, tmp_path, rows[5])
    shown: list[str] = []
    replace(owner, consent=lambda text: shown.append(text) or False).contribute()  # type: ignore[func-returns-value]
    assert "1 of 40 texts are held-out" in shown[0] and '"num_examples": 39' in shown[0]


def test_texts_that_are_held_out_while_their_owner_trains_do_not_leave(
    owner: Joiner, rows: list[str], hub: LocalHub, tmp_path: Path
) -> None:
    shown: list[str] = []
    said: list[str] = []

    def slow(text: str) -> bool:
        shown.append(text)
        if len(shown) == 1:
            hold_out(hub, tmp_path, rows[5])
        return True

    proposal = replace(owner, consent=slow, say=said.append).contribute()
    assert proposal is not None and len(hub.proposals()) == 1
    assert "names no held-out tasks" in shown[0] and "1 of 40 texts are held-out" in shown[1]
    assert "other texts are held out meanwhile: the data is checked and fine-tuned on anew" in said
    manifest = hub.fetch("contributions/alice/manifest.json", at=proposal.revision).read_text()
    assert '"num_examples": 39' in manifest


def test_a_base_goes_on_when_people_mend_the_card(joiner: Joiner, hub: LocalHub, tmp_path: Path) -> None:
    """A commit of people moves main, not the base."""
    assert joiner.contribute() is not None
    (tmp_path / "README.md").write_text("a better card")
    base = read_state(hub).base
    head = hub.commit({"README.md": tmp_path / "README.md"}, message="mend the card", parent=hub.head())
    state = read_state(hub)
    assert (state.base, state.head) == (base, head)
    assert joiner.contribute() is None and len(hub.proposals()) == 1
    coordinate(hub, tmp_path)
    assert read_state(hub).record.num_accepted == 1 and read_state(hub).record.parent == base


def test_a_contribution_to_a_round_that_was_closed_meanwhile_is_dropped(
    joiner: Joiner, hub: LocalHub, tmp_path: Path
) -> None:
    box = Outbox(tmp_path / "outbox", address=hub.address, contributor="bob")
    bob = replace(joiner, hub=LocalHub(hub.root, author="bob"), contributor="bob", outbox=box)
    said: list[str] = []

    def too_slow(text: str) -> bool:
        bob.contribute()
        coordinate(hub, tmp_path)
        return True

    assert replace(joiner, consent=too_slow, say=said.append).contribute() is None
    assert said[-1] == "round 1 was closed meanwhile; this contribution came too late"
    assert read_state(hub).open_round == 2 and hub.proposals() == []


def test_every_round_gets_one_contribution(joiner: Joiner, hub: LocalHub, tmp_path: Path) -> None:
    naps: list[Callable[[], None]] = [lambda: None, lambda: coordinate(hub, tmp_path)] * 2

    def sleep(_: float) -> None:
        if not naps:
            raise Over
        naps.pop(0)()

    with pytest.raises(Over):
        replace(joiner, sleep=sleep).rounds()
    assert read_state(hub).open_round == 3
    assert [proposal.title.split(":")[0] for proposal in hub.proposals()] == ["round 3"]


def test_a_name_is_the_accounts_or_begins_with_it() -> None:
    assert name_for("alice", None) == "alice"
    assert name_for("alice", "alice--reviews") == "alice--reviews"
    for wrong in ("bob", "alice-reviews", "alice2", "alice--my data"):
        with pytest.raises(ConfigError, match=f"name '{wrong}': 'alice' contributes as"):
            name_for("alice", wrong)


def test_training_too_quick_to_measure_has_no_speed() -> None:
    said: list[str] = []
    Milestones(said.append, clock=lambda: 7.0)(40, 40)
    assert said == ["fine-tuning: 40 of 40 examples"]


def test_milestones_tell_how_far_how_fast_and_how_long_still() -> None:
    said: list[str] = []
    now = iter([0.0, 5.0, 20.0, 25.0, 40.0])
    report = Milestones(said.append, every=15.0, clock=lambda: next(now))
    for done in (0, 50, 200, 250, 400):
        report(done, 400)
    assert said == [
        "fine-tuning: 200 of 400 examples, 10 examples/s, 20 s left",
        "fine-tuning: 400 of 400 examples, 10 examples/s",
    ]
