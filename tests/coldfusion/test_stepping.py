"""Rounds with every knob of the policy that is about fusing, on a federation of a few numbers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from coldfusion.checkpoint import Checkpoint
from coldfusion.codecs import codec_named
from coldfusion.config import Policy, dump
from coldfusion.coordinator import Coordinator
from coldfusion.engine.sources import DeltaSource
from coldfusion.errors import RoundError, StaleParent
from coldfusion.federation import read_records, read_state
from coldfusion.hub import materialise
from coldfusion.layout import outer_path, tag_name
from coldfusion.outer import OUTER, make_outer_options
from coldfusion.records import Evaluation, Revision, RoundRecord
from coldfusion.stepping import PlannedStep, relative, round_seed, take_step
from coldfusion.tensorfile import TensorFile
from hub_sync.local import LocalHub
from tests.helpers import contribute, finetuned, new_federation, small_body

BODY = small_body()
STATEFUL = [name for name, optimiser in OUTER.items() if optimiser.slots]


@pytest.fixture
def hub(tmp_path: Path) -> LocalHub:
    return LocalHub(tmp_path / "store")


def run_round(hub: LocalHub, room: Path, bodies: Sequence[dict[str, np.ndarray]]) -> RoundRecord:
    """The open round, with contributors a, b, c, ..."""
    for name, body in zip("abc", bodies, strict=False):
        contribute(hub, room / f"{read_state(hub).open_round}", body, name=name)
    return coordinator(hub, room).run_round()


def coordinator(hub: LocalHub, room: Path) -> Coordinator:
    return Coordinator(hub=hub, workdir=room / "work", evaluate=lambda *_: Evaluation())


def amended(hub: LocalHub, room: Path, policy: Policy) -> None:
    """The coordinator changes federation.yaml by hand."""
    (room / "policy").write_text(dump(policy))
    hub.commit({"federation.yaml": room / "policy"}, message="policy", parent=hub.head())


def published(hub: LocalHub, at: Revision | None = None) -> dict[str, np.ndarray]:
    found = load_file(hub.fetch("model.safetensors", at=at or hub.head()))
    return {name: tensor for name, tensor in found.items() if name != "position_ids"}


def states(hub: LocalHub) -> list[str]:
    return [info.path for info in hub.paths("rounds/", at=hub.head()) if "outer" in info.path]


@pytest.mark.parametrize("name", OUTER)
def test_rounds_with_an_outer_optimiser_are_its_steps_one_after_the_other(
    hub: LocalHub, tmp_path: Path, name: str
) -> None:
    new_federation(hub, tmp_path, BODY, Policy(outer=name, outer_lr=0.5))
    optimiser, options = OUTER[name], make_outer_options(OUTER[name], 0.5, {})
    state = {n: optimiser.init(t.shape, options) for n, t in BODY.items()}
    base = BODY
    for index in (1, 2, 3):
        body = finetuned(base, index)
        run_round(hub, tmp_path, [body])
        expected = {}
        for n, tensor in base.items():
            delta = np.asarray(np.float64(body[n]) - np.float64(tensor))
            state[n], step = optimiser.step(state[n], delta, options)
            expected[n] = np.asarray(np.float64(tensor) + step).astype(np.float32)
        base = published(hub)
        for n in BODY:
            np.testing.assert_array_max_ulp(base[n], expected[n], maxulp=1)


@pytest.mark.parametrize("name", STATEFUL)
def test_the_state_is_published_with_its_base_and_only_the_newest_stays(
    hub: LocalHub, tmp_path: Path, name: str
) -> None:
    new_federation(hub, tmp_path, BODY, Policy(outer=name, outer_lr=0.01))
    assert states(hub) == []
    first = run_round(hub, tmp_path, [finetuned(BODY, 1)])
    assert states(hub) == [outer_path(1)] and hub.resolve(tag_name(1)) == hub.head()  # one commit
    assert first.fusing and first.fusing.outer_state is None
    second = run_round(hub, tmp_path, [finetuned(BODY, 2)])
    assert states(hub) == [outer_path(2)]
    assert second.fusing and second.fusing.outer_state == first.output[outer_path(1)]
    assert hub.fetch(outer_path(1), at=hub.resolve(tag_name(1))).exists()  # for whoever checks round 2
    assert second.notes == ()


def test_a_checkpoint_directory_has_no_state_in_it(hub: LocalHub, tmp_path: Path) -> None:
    new_federation(hub, tmp_path, BODY, Policy(outer="adam", outer_lr=0.01))
    run_round(hub, tmp_path, [finetuned(BODY, 1)])
    (tmp_path / "there").mkdir()
    found = materialise(hub, hub.head(), tmp_path / "there")
    assert not [path for path in found.rglob("*") if "outer" in path.name]


def test_sgd_leaves_no_state(hub: LocalHub, tmp_path: Path) -> None:
    new_federation(hub, tmp_path, BODY)
    record = run_round(hub, tmp_path, [finetuned(BODY, 1)])
    assert states(hub) == [] and set(record.output) == {"model.safetensors"}


def test_another_optimiser_begins_afresh_and_the_record_says_so(hub: LocalHub, tmp_path: Path) -> None:
    new_federation(hub, tmp_path, BODY, Policy(outer="momentum"))
    run_round(hub, tmp_path, [finetuned(BODY, 1)])
    amended(hub, tmp_path, Policy(outer="nesterov"))
    second = run_round(hub, tmp_path, [finetuned(BODY, 2)])
    change = "outer optimiser changed from momentum to nesterov, which begins without what round 1 left"
    assert second.notes == (change,) and second.fusing and second.fusing.outer_state is None
    amended(hub, tmp_path, Policy())
    third = run_round(hub, tmp_path, [finetuned(BODY, 3)])
    assert "from nesterov to sgd" in third.notes[0] and states(hub) == []
    assert run_round(hub, tmp_path, [finetuned(BODY, 4)]).notes == ()


def test_other_options_of_the_same_optimiser_go_on_from_its_state(hub: LocalHub, tmp_path: Path) -> None:
    """The state does not depend on the learning rate, so a schedule can be kept by hand."""
    new_federation(hub, tmp_path, BODY, Policy(outer="momentum"))
    first = run_round(hub, tmp_path, [finetuned(BODY, 1)])
    amended(hub, tmp_path, Policy(outer="momentum", outer_lr=0.1))
    second = run_round(hub, tmp_path, [finetuned(BODY, 2)])
    assert second.fusing and second.fusing.outer_state == first.output[outer_path(1)]
    assert second.fusing.outer_lr == 0.1 and second.notes == ()


def test_a_state_that_is_not_the_recorded_one_is_refused_with_the_way_out(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_federation(hub, tmp_path, BODY, Policy(outer="momentum"))
    run_round(hub, tmp_path, [finetuned(BODY, 1)])
    contribute(hub, tmp_path / "2", finetuned(BODY, 2), name="a")
    save_file({"momentum.scale": np.zeros((), np.float32)}, tmp_path / "other")
    fetch = hub.fetch
    monkeypatch.setattr(
        hub, "fetch", lambda path, at: tmp_path / "other" if "outer" in path else fetch(path, at=at)
    )
    with pytest.raises(
        RoundError, match=r"rounds/0001/outer.safetensors: .* not the record's; .* outer: sgd"
    ):
        coordinator(hub, tmp_path).run_round()


def test_a_coordinator_that_lost_goes_on_from_the_winners_state(hub: LocalHub, tmp_path: Path) -> None:
    """What the loser had computed is never used."""
    new_federation(hub, tmp_path, BODY, Policy(outer="momentum"))
    for name, seed in (("a", 1), ("b", 2)):
        contribute(hub, tmp_path / "1", finetuned(BODY, seed), name=name)
    loser, winner = coordinator(hub, tmp_path / "loser"), coordinator(hub, tmp_path / "winner")

    def beaten(step: str) -> None:
        if step == "publish":
            hub.settle(2, comment="withdrawn")  # the winner sees one contribution less
            winner.run_round()

    with pytest.raises(StaleParent):
        replace(loser, on_step=beaten).run_round()
    stale = (tmp_path / "loser" / "work" / "candidate-outer.safetensors").read_bytes()
    assert stale != hub.fetch(outer_path(1), at=hub.head()).read_bytes()
    first = read_records(hub)[1]
    contribute(hub, tmp_path / "2", finetuned(BODY, 3), name="a")
    second = loser.run_round()
    assert second.fusing and second.fusing.outer_state == first.output[outer_path(1)]


def test_weights_by_examples_are_capped_and_have_a_mean_of_1(hub: LocalHub, tmp_path: Path) -> None:
    new_federation(hub, tmp_path, BODY, Policy(weights="examples", max_examples=30))
    bodies = [finetuned(BODY, seed) for seed in (1, 2)]
    for name, body, examples in (("a", bodies[0], 10), ("b", bodies[1], 1_000_000)):
        contribute(hub, tmp_path, body, name=name, says={"num_examples": examples})
    record = coordinator(hub, tmp_path).run_round()
    assert [entry.weight for entry in record.entries] == [0.5, 1.5]
    for name, tensor in published(hub).items():
        expected = np.asarray(0.25 * np.float64(bodies[0][name]) + 0.75 * np.float64(bodies[1][name]))
        np.testing.assert_array_max_ulp(tensor, expected.astype(np.float32), maxulp=1)


def test_relative_weights_by_hand() -> None:
    assert relative([1.0, 1.0, 1.0]) == [1.0, 1.0, 1.0]
    assert relative([10.0, 30.0]) == [0.5, 1.5]


def test_the_fusers_options_reach_it(hub: LocalHub, tmp_path: Path) -> None:
    policy = Policy(fuser="task_arithmetic", fuser_options={"scale": 0.5})
    new_federation(hub, tmp_path, BODY, policy)
    bodies = [finetuned(BODY, seed) for seed in (1, 2)]
    record = run_round(hub, tmp_path, bodies)
    assert record.fusing and record.fusing.fuser_options == {
        "scale": 0.5,
        "normalize": False,
        "skill": 0,
        "general": 0,
    }
    for name, tensor in published(hub).items():  # half of the sum of two deltas is their mean
        expected = np.mean([np.float64(body[name]) for body in bodies], axis=0).astype(np.float32)
        np.testing.assert_array_max_ulp(tensor, expected, maxulp=1)


def test_the_seed_follows_the_weights_and_the_round_and_not_the_clock(tmp_path: Path) -> None:
    seeds = []
    for room in (tmp_path / "one", tmp_path / "two"):
        hub = LocalHub(room / "store")
        new_federation(hub, room, BODY)
        start = read_state(hub).record
        record = run_round(hub, room, [finetuned(BODY, 1)])
        assert record.fusing and record.fusing.seed == round_seed(start)
        seeds.append((round_seed(start), round_seed(record)))
    assert seeds[0] == seeds[1] and len(set(seeds[0])) == 2
    assert round_seed(replace(start, round_index=7)) != round_seed(start)
    assert round_seed(replace(start, output={"model.safetensors": "0" * 64})) != round_seed(start)


@pytest.mark.parametrize("outer", ["sgd", "adam"])
def test_the_record_is_enough_to_take_the_step_again(hub: LocalHub, tmp_path: Path, outer: str) -> None:
    """What `verify` does: from the record, the base, the deltas and the state of the round before."""
    policy = Policy(outer=outer, outer_lr=0.01, weights="examples", fuser="task_arithmetic")
    new_federation(hub, tmp_path, BODY, policy)
    run_round(hub, tmp_path, [finetuned(BODY, seed) for seed in (1, 2)])
    run_round(hub, tmp_path, [finetuned(BODY, seed) for seed in (3, 4, 5)])
    record = read_records(hub)[2]
    assert record.parent and record.fusing
    for room in ("base", "again"):
        (tmp_path / room).mkdir()
    state = hub.fetch(outer_path(1), at=record.parent) if record.fusing.outer_state else None
    entries = [entry for entry in record.entries if entry.accepted]
    sources = []
    for entry in entries:
        assert entry.revision and entry.codec
        file = hub.fetch(f"contributions/{entry.contributor}/delta.safetensors", at=entry.revision)
        sources.append(DeltaSource(entry.contributor, TensorFile(file), codec_named(entry.codec)))
    weights = tuple(entry.weight for entry in entries)
    step = PlannedStep(fusing=record.fusing, weights=weights, previous=state)
    into, outer_into = tmp_path / "again", tmp_path / "outer"
    with Checkpoint(materialise(hub, record.parent, tmp_path / "base")) as base:
        take_step(step, base, sources, stats=None, into=into, state_into=outer_into)
    again = {"model.safetensors": into / "model.safetensors", outer_path(2): outer_into}
    assert {path for path, file in again.items() if file.exists()} == set(record.output)
    for path in record.output:
        assert again[path].read_bytes() == hub.fetch(path, at=hub.head()).read_bytes()
