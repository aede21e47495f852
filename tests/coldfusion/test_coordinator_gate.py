"""A round at the gate, from pull requests to what is published."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from coldfusion.config import Policy
from coldfusion.coordinator import Coordinator
from coldfusion.federation import read_records, read_state
from coldfusion.layout import outer_path
from coldfusion.records import Evaluation, Gain
from hub_sync.local import LocalHub
from tests.helpers import contribute, new_federation, small_body

BODY = small_body()


def moved(step: float) -> dict[str, np.ndarray]:
    return {name: np.asarray(tensor + np.float32(step)) for name, tensor in BODY.items()}


def height(folder: Path) -> float:
    return float(load_file(folder / "model.safetensors")["scale"])


def by_height(candidate: Path, before: Path | None) -> Evaluation:
    """The higher the better: 100 points for 1, known to 0.5 points."""
    assert before is not None
    mean = 100 * (height(candidate) - height(before))
    return Evaluation(
        gains=(
            Gain(
                protocol="probe",
                held_out=True,
                against="previous",
                mean=mean,
                low=mean - 0.5,
                high=mean + 0.5,
                num_tasks=3,
                worst="t",
                worst_gain=mean,
            ),
        )
    )


class Scores:
    """Which bases were scored on the test splits."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def __call__(self, base: Path, before: Path | None) -> Evaluation:
        self.seen.append(height(base))
        return Evaluation()


@pytest.fixture
def hub(tmp_path: Path) -> LocalHub:
    return LocalHub(tmp_path / "store")


def run(hub: LocalHub, room: Path, scores: Scores, **steps: float) -> list[str]:
    """One round of contributors who move every number by a step; who was left out."""
    for name, step in steps.items():
        contribute(hub, room / str(read_state(hub).open_round), moved(step), name=name)
    coordinator = Coordinator(hub=hub, workdir=room / "work", evaluate=scores, judge=by_height)
    return [entry.contributor for entry in coordinator.run_round().entries if not entry.accepted]


def published(hub: LocalHub) -> float:
    return float(load_file(hub.fetch("model.safetensors", at=hub.head()))["scale"]) - float(BODY["scale"])


def test_a_harmful_contribution_is_left_out_and_told_why(hub: LocalHub, tmp_path: Path) -> None:
    new_federation(hub, tmp_path, BODY)
    scores = Scores()
    assert run(hub, tmp_path, scores, alice=0.02, bob=0.04, mallory=-0.3) == ["mallory"]
    assert published(hub) == pytest.approx(0.03)
    record = read_records(hub)[-1]
    assert [(t.without, bool(t.reasons)) for t in record.trials] == [((), True), (("mallory",), False)]
    assert {e.contributor: e.weight for e in record.entries} == {"alice": 1, "bob": 1, "mallory": 0}
    assert len(scores.seen) == 1  # the test splits were used once, for what was published
    (comment,) = (e.reasons[0] for e in record.entries if not e.accepted)
    assert comment == "the gate: without it the candidate's validation score is +11.00 points"


def test_where_nothing_holds_the_round_ends_with_the_same_base(hub: LocalHub, tmp_path: Path) -> None:
    new_federation(hub, tmp_path, BODY, Policy(outer="momentum", outer_lr=1.0))
    scores = Scores()
    assert run(hub, tmp_path, scores, alice=0.02) == []
    before, state = published(hub), hub.fetch(outer_path(1), at=hub.head()).read_bytes()
    assert run(hub, tmp_path, scores, alice=-0.4, bob=-0.5) == ["alice", "bob"]
    assert published(hub) == before and read_state(hub).record.round_index == 2
    assert hub.fetch(outer_path(2), at=hub.head()).read_bytes() == state
    record = read_records(hub)[-1]
    assert record.num_accepted == 0 and "the base stays what it was" in record.notes[-1]
    assert not hub.proposals()  # and everybody was answered
    assert run(hub, tmp_path, scores, alice=0.05, bob=0.05) == []  # the federation goes on
    assert published(hub) > before


def test_a_policy_without_a_gate_publishes_what_comes(hub: LocalHub, tmp_path: Path) -> None:
    new_federation(hub, tmp_path, BODY, Policy(gate=False))
    assert run(hub, tmp_path, Scores(), mallory=-0.3) == []
    assert published(hub) == pytest.approx(-0.3) and read_records(hub)[-1].trials == ()
