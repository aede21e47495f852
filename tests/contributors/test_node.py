from pathlib import Path

import pytest

from coldfusion.admission import contribution_paths
from coldfusion.checkpoint import Checkpoint
from coldfusion.config import Policy
from coldfusion.errors import DataError
from coldfusion.federation import Start, found, read_state
from coldfusion.jsonrecords import from_json
from coldfusion.records import Evaluation, Manifest
from coldfusion.tensorfile import TensorFile
from contributors.config import TrainingConfig
from contributors.node import Turn, contribute, submitted
from contributors.reporting import unheard
from hub_sync.local import LocalHub
from tests.tasks import write_csv, write_task

QUICK = TrainingConfig(lr=3e-3, epochs=1, batch_size=8, max_length=16, bf16=False)


@pytest.fixture
def hub(tiny_base: Path, tmp_path: Path) -> LocalHub:
    hub = LocalHub(tmp_path / "store")
    found(hub, Start(tiny_base), Policy(), evaluate=lambda *_: Evaluation(), workdir=tmp_path / "founding")
    return hub


def turn(hub: LocalHub, data: Path | str) -> Turn:
    return Turn(
        contributor="alice",
        hub=str(hub.root),
        round_index=1,
        base=hub.head(),
        data=str(data),
        training=QUICK,
        codec="exact",
        seed=5,
    )


def test_a_turn_opens_a_pull_request_with_a_delta_and_a_manifest_and_nothing_else(
    hub: LocalHub, tiny_base: Path, tmp_path: Path
) -> None:
    task = write_task(tmp_path / "task", seed=0)
    submission = contribute(tiny_base, turn(hub, task / "train.csv"), unheard)
    (proposal,) = hub.proposals()
    before = {info.path for info in hub.paths(at=hub.head())}
    after = {info.path for info in hub.paths(at=proposal.revision)}
    delta, manifest = contribution_paths("alice")
    assert after - before == {delta, manifest}
    said = from_json(Manifest, hub.fetch(manifest, at=proposal.revision).read_bytes(), source=manifest)
    assert (said.contributor, said.num_examples, said.base) == ("alice", 40, hub.head())
    assert submission.proposal == proposal.number and submission.delta_bytes == said.size
    assert submission.training[0] < submission.training[1]


def test_a_delta_holds_the_body_and_no_head(hub: LocalHub, tiny_base: Path, tmp_path: Path) -> None:
    contribute(tiny_base, turn(hub, write_task(tmp_path / "task", seed=0) / "train.csv"), unheard)
    delta, _ = contribution_paths("alice")
    file = TensorFile(hub.fetch(delta, at=hub.proposals()[0].revision))
    with Checkpoint(tiny_base) as base:
        assert set(file.tensors) == set(base.body)
    assert any(file.read(name).any() for name in file.tensors)


def test_the_same_turn_is_submitted_once(hub: LocalHub, tiny_base: Path, tmp_path: Path) -> None:
    same = turn(hub, write_task(tmp_path / "task", seed=0) / "train.csv")
    one, two = (contribute(tiny_base, same, unheard) for _ in range(2))
    assert one.proposal == two.proposal and len(hub.proposals()) == 1
    assert submitted(hub, 1) == {"alice"} and submitted(hub, 2) == set()


def test_a_turn_on_bad_data_submits_nothing(hub: LocalHub, tiny_base: Path, tmp_path: Path) -> None:
    data = write_csv(tmp_path / "x.csv", ["text", "label"], [("a", 1), ("b", 1)])
    with pytest.raises(DataError, match="same label"):
        contribute(tiny_base, turn(hub, data), unheard)
    assert hub.proposals() == [] and read_state(hub).open_round == 1
