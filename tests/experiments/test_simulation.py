import dataclasses
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load, load_file
from transformers import AutoModel, AutoTokenizer

from coldfusion.config import Policy, dump
from coldfusion.errors import ConfigError, RoundError
from contributors.config import PoolConfig, ProbeConfig, TrainingConfig
from contributors.node import Submission, Turn, contribute
from contributors.pool import Pool
from contributors.reporting import Report
from contributors.scoring import FINE_TUNE, PROBE
from experiments import simulation
from experiments.config import FineTuneScoreConfig, Harm, SimulationConfig
from experiments.progress import RunProgress
from experiments.report import Run
from experiments.rundir import run_directory
from experiments.simulation import simulate
from hub_sync.local import LocalHub
from tests.tasks import write_tasks

QUICK = TrainingConfig(lr=3e-3, epochs=1, batch_size=8, max_length=16, bf16=False)
NAMES = ["apple", "berry", "cherry", "date"]
UNATTRIBUTED = Policy(leave_one_out=0, estimates=False)


@pytest.fixture(scope="module")
def undisturbed(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> SimulationConfig:
    """The config of the run that `whole` is."""
    room = tmp_path_factory.mktemp("whole")
    return SimulationConfig(
        name="test",
        base=str(tiny_base),
        tasks=str(write_tasks(room / "tasks", NAMES)),
        held_out=["date"],
        rounds=2,
        contributors_per_round=2,
        run=str(room / "run"),
        training=QUICK,
        probe=ProbeConfig(max_length=16, bf16=False),
        fine_tune_score=FineTuneScoreConfig(rounds="none", training=QUICK),
        pool=PoolConfig(backend="serial"),
        policy=UNATTRIBUTED,
    )


@pytest.fixture
def config(undisturbed: SimulationConfig, tmp_path: Path) -> SimulationConfig:
    """The same, in a directory of this test's own."""
    return dataclasses.replace(undisturbed, run=str(tmp_path / "run"))


@pytest.fixture(scope="module")
def whole(undisturbed: SimulationConfig) -> tuple[Run, str]:
    """A run that nothing disturbs, and what it said; made once, to be looked at and compared with."""
    return run(undisturbed)


def run(config: SimulationConfig, **changes: object) -> tuple[Run, str]:
    """The run and what it said."""
    console = Console(file=io.StringIO(), width=200)
    settings = dataclasses.replace(config, **changes)  # type: ignore[arg-type]
    result = simulate(settings, RunProgress(console, settings.rounds))
    assert isinstance(console.file, io.StringIO)
    return result, console.file.getvalue()


def weights(run: Run) -> list[bytes]:
    """The bytes of every base, round by round."""
    hub = LocalHub(run.room / "store")
    revisions = [hub.resolve(f"round-{record.round_index:04d}") for record in run.records]
    return [hub.fetch("model.safetensors", at=revision).read_bytes() for revision in revisions]


def test_a_contributor_that_turns_harmful_trains_on_shuffled_labels_from_then_on(
    config: SimulationConfig,
) -> None:
    everybody = dataclasses.replace(
        config, contributors_per_round=3, policy=dataclasses.replace(UNATTRIBUTED, gate=False)
    )
    harmed, _ = run(everybody, harm=[Harm("apple", from_round=2, lr_times=3.0)])
    honest, _ = run(everybody, run=str(harmed.room.with_name("honest")))
    same = [one == two for one, two in zip(weights(harmed), weights(honest), strict=True)]
    assert same == [True, True, False]
    norms = [{e.contributor: e.norm for e in r.records[2].entries} for r in (harmed, honest)]
    assert norms[0]["apple"] > norms[1]["apple"] and norms[0]["berry"] == norms[1]["berry"]


def test_every_candidate_was_judged_on_the_held_out_task_and_says_so(config: SimulationConfig) -> None:
    result, said = run(config, policy=Policy())
    for record in result.records[1:]:
        assert [(t.gain.num_tasks, t.gain.against) for t in record.trials][:1] == [(1, "previous")]
        names = [e.contributor for e in record.entries if e.accepted]
        assert [w.contributor for w in record.worths] == names
        assert all(w.gain and w.estimate is not None and w.tasks[0].task == "date" for w in record.worths)
    assert "judging" in said and "At the gate</h3>\n<p class" in result.report.read_text()


def test_a_federation_from_its_first_base_to_its_report(config: SimulationConfig) -> None:
    result, said = run(config, fine_tune_score=FineTuneScoreConfig(training=QUICK))
    assert [record.round_index for record in result.records] == [0, 1, 2]
    assert [record.num_accepted for record in result.records] == [0, 2, 2]
    assert len(set(weights(result))) == 3
    # Four tasks are probed in every round; the held-out one is fine-tuned on at both ends as well.
    assert [len(record.evaluation.scores) for record in result.records] == [5, 4, 5]
    assert result.records[2].evaluation.gain(PROBE, held_out=True) is not None
    assert result.records[2].evaluation.gain(FINE_TUNE, held_out=True) is not None
    assert "round 2/2 · contributing · 2/2" in said and "examples/s" in said and "ETA 0:" in said
    assert "training" in said and "neither" in said
    assert "<svg" in result.report.read_text()
    assert "](figures/gain.png)" in (result.base / "README.md").read_text()
    assert (result.base / "figures" / "gain.png").read_bytes().startswith(b"\x89PNG")


def test_a_published_base_opens_like_any_checkpoint(whole: tuple[Run, str]) -> None:
    result, _ = whole
    model, tokenizer = AutoModel.from_pretrained(result.base), AutoTokenizer.from_pretrained(result.base)
    hidden = model(**tokenizer("the soup was quite warm", return_tensors="pt")).last_hidden_state
    assert hidden.shape[-1] == 16 and bool(hidden.isfinite().all())


def test_serial_and_ray_with_one_and_with_two_workers_give_the_same_bytes(
    config: SimulationConfig, whole: tuple[Run, str], two_cpus: Pool, tmp_path: Path
) -> None:
    pools = {
        "two workers": PoolConfig(cpus=1.0),
        "one worker": PoolConfig(cpus=1.5),  # of two CPUs: one job at a time; torch has one thread here too
    }
    found = {"serial": whole[0]}
    found |= {name: run(config, pool=pool, run=str(tmp_path / name))[0] for name, pool in pools.items()}
    serial, two, one = ((weights(r), [record.evaluation for record in r.records]) for r in found.values())
    assert serial == two == one


def test_another_seed_gives_other_bytes(config: SimulationConfig, whole: tuple[Run, str]) -> None:
    other, _ = run(config, rounds=1, seed=config.seed + 1)
    assert weights(other)[1] != weights(whole[0])[1]


def test_a_run_goes_on_where_it_was_and_can_be_made_longer(
    config: SimulationConfig, whole: tuple[Run, str]
) -> None:
    run(config, rounds=1)
    longer, said = run(config)
    assert "round 1/2" not in said
    assert weights(longer) == weights(whole[0])
    assert run(config)[0].records == longer.records  # nothing is left to do


def test_a_contributor_that_fails_is_a_verdict(
    config: SimulationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fragile(base: Path, turn: Turn, report: Report) -> Submission:
        if turn.contributor == "berry":
            raise MemoryError("out of memory")
        return contribute(base, turn, report)

    monkeypatch.setattr(simulation, "contribute", fragile)
    result, said = run(config, rounds=1, contributors_per_round=3)
    (failed,) = (entry for entry in result.records[1].entries if not entry.accepted)
    assert (failed.contributor, failed.weight) == ("berry", 0)
    assert failed.reasons == ("failed before it submitted: MemoryError: out of memory",)
    assert result.records[1].num_accepted == 2 and "berry failed" in said
    assert "out of memory" in result.report.read_text()


def test_a_round_without_its_quorum_ends_the_run_in_one_line(config: SimulationConfig) -> None:
    with pytest.raises(RoundError, match="round 1: 2 of 3 contributions needed"):
        run(config, policy=dataclasses.replace(UNATTRIBUTED, quorum=3))


def test_a_run_directory_keeps_to_its_config(undisturbed: SimulationConfig, whole: tuple[Run, str]) -> None:
    with pytest.raises(ConfigError, match="begun with another config .*config.yaml"):
        run(undisturbed, seed=3)


def test_two_processes_cannot_work_in_one_directory(config: SimulationConfig) -> None:
    with run_directory(config), pytest.raises(ConfigError, match="another process is at work there"):
        run(config)


def test_an_outer_lr_of_zero_point_five_goes_half_as_far(
    config: SimulationConfig, whole: tuple[Run, str]
) -> None:
    half, _ = run(config, rounds=1, policy=dataclasses.replace(UNATTRIBUTED, outer_lr=0.5))
    start = load_file(half.room / "pretrained" / "model.safetensors")
    one, two = (load(weights(made)[1]) for made in (whole[0], half))  # the whole one's outer_lr is sgd's: 1
    for name, tensor in start.items():
        np.testing.assert_allclose(two[name] - tensor, (one[name] - tensor) / 2, atol=1e-6)


KILLED = """
import os, signal, sys
import experiments.simulation  # which takes seconds, once for all that are killed
from coldfusion.cli import main

config, *moments = sys.argv[1:]
sys.argv = ["coldfusion", "simulate", config]
for words in moments:
    ours, theirs = os.pipe()
    if (child := os.fork()) == 0:
        os.dup2(theirs, 1)
        main()
    os.close(theirs)
    with os.fdopen(ours) as said:
        assert any(words in line for line in said), f"never said {words!r}"
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def test_killed_and_started_again_it_ends_with_the_same_bytes(
    config: SimulationConfig, whole: tuple[Run, str], tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text(dump(config))
    moments = ["round 1/2 · contributing · 1/2", "round 2/2 · contributing · 2/2"]
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "config.yaml"), *moments], check=True)
    resumed, said = run(config)
    assert "round 1/2" not in said
    assert weights(resumed) == weights(whole[0])
    assert [r.evaluation for r in resumed.records] == [r.evaluation for r in whole[0].records]
