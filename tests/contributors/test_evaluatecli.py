"""`coldfusion evaluate` as a user types it: bases of a federation, and any other checkpoints."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from coldfusion.cli import app
from coldfusion.config import Policy
from coldfusion.coordinator import Coordinator
from coldfusion.errors import BaseError, ConfigError, DataError
from coldfusion.records import Evaluation
from contributors.config import TrainingConfig
from contributors.data import load_examples
from contributors.finetuning import finetune
from contributors.founding import found_federation
from hub_sync.local import LocalHub
from tests.helpers import contribute
from tests.tasks import write_task

SUITE = """\
tasks:
  - {name: one, train: one/train.csv, test: one/test.csv}
  - {name: two, train: two/train.csv, test: two/test.csv, metrics: [macro_f1, loss]}
probe: {max_length: 16, bf16: false}
few_shot: {lr: 0.003, epochs: 1, batch_size: 8, max_length: 16, max_examples: 16, bf16: false}
pool: {backend: serial}
"""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """A suite, and a federation of two rounds, the second of which wrecks the base."""
    room = tmp_path_factory.mktemp("evaluate")
    for seed, name in enumerate(("one", "two")):
        write_task(room / name, seed=seed, train=80, test=60)
    (room / "suite.yaml").write_text(SUITE)
    hub = LocalHub(room / "store")
    found_federation(hub, str(tiny_base), Policy())
    words = load_examples(str(room / "one" / "train.csv"))
    training = TrainingConfig(lr=3e-3, epochs=15, batch_size=8, max_length=16, bf16=False)
    body = finetune(tiny_base, words, training, seed=0).classifier.body
    trained = {name: tensor.numpy() for name, tensor in body.state_dict().items()}
    wrecked = {name: np.zeros_like(tensor) for name, tensor in trained.items()}
    for index, moved in enumerate((trained, wrecked)):
        contribute(hub, room / f"round {index}", moved, name="alice")
        Coordinator(hub=hub, workdir=room / "work", evaluate=lambda *_: Evaluation()).run_round()
    return room


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch, room: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(room / "state"))
    monkeypatch.setenv("COLUMNS", "200")


def evaluate(room: Path, *arguments: str, tasks: str = "suite.yaml") -> str:
    line = ["evaluate", *arguments, "--tasks", str(room / tasks)]
    return CliRunner().invoke(app, line, catch_exceptions=False).output


def test_a_base_is_compared_with_the_one_before_and_with_the_pretrained_model(room: Path) -> None:
    store, out = f"{room}/store", room / "found.json"
    said = evaluate(room, f"{store}@round-0002", store, "--by-task", "--json", str(out))
    assert f"{store}@round-0002: previous is {store}@round-0001" in said
    assert f"{store}@round-0002: pretrained is {store}@round-0000" in said
    wrecked, newest = json.loads(out.read_text())
    assert wrecked["digest"] == newest["digest"]
    groups = {(g["against"], g["unit"]): g for g in wrecked["evaluation"]["gains"]}
    assert groups.keys() == {(a, u) for a in ("previous", "pretrained") for u in ("points", "nats")}
    assert groups["previous", "points"]["high"] < 0 and groups["previous", "points"]["num_worse"] == 2
    assert f"2 of 2, {groups['previous', 'points']['worst']}" in said


def test_nothing_is_scored_twice(room: Path) -> None:
    evaluate(room, f"{room}/store@round-0001")
    assert "scored" not in evaluate(room, f"{room}/store@round-0001")
    again = evaluate(room, f"{room}/store@round-0001", "--protocol", "few-shot")
    assert "few-shot" in again and "of 4\n" in again  # two tasks, two bases


def test_directories_are_compared_with_the_one_before_them(room: Path, tiny_base: Path) -> None:
    other = room / "other"
    other.mkdir(exist_ok=True)
    for path in tiny_base.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    tensors = load_file(other / "model.safetensors")
    save_file(
        {n: x * np.float32(0.5) for n, x in tensors.items()}, other / "model.safetensors", {"format": "pt"}
    )
    said = evaluate(room, str(tiny_base), str(other))
    assert f"{other}: previous is {tiny_base}" in said and f"{other}: pretrained is {tiny_base}" in said


def test_what_cannot_be_evaluated_is_named(room: Path) -> None:
    with pytest.raises(BaseError, match="store@round-0009: no such revision; round-0000 is one"):
        evaluate(room, f"{room}/store@round-0009")
    with pytest.raises(DataError, match="nowhere"):
        evaluate(room, f"{room}/store", "--set", "tasks=[{name: x, train: nowhere.csv, test: nowhere.csv}]")
    with pytest.raises(ConfigError, match="unknown protocol"):
        evaluate(room, f"{room}/store", "--protocol", "zero-shot")
