"""`coldfusion demo`: the whole loop on this machine, with nothing but what a Python installation brings."""

from __future__ import annotations

import shutil
from pathlib import Path

from coldfusion.config import Policy
from coldfusion.errors import writing
from contributors.config import ProbeConfig, TrainingConfig
from experiments.config import FineTuneScoreConfig, SimulationConfig
from experiments.documentation import HELD_OUT, read_passages, write_tasks
from experiments.progress import RunProgress
from experiments.report import Run
from experiments.simulation import simulate
from experiments.smallbase import make_base

ROUNDS = 5
CONTRIBUTED, HELD_OUT_TASKS = 10, 6
CONTRIBUTORS_PER_ROUND = 8


def demo(run: Path, seed: int, progress: RunProgress) -> Run:
    """Make tasks and a base below `run`, and run a federation on them."""
    inputs = run / "inputs"
    if not inputs.exists():
        progress.say("making tasks and a small base from the documentation in this Python installation")
        _make_inputs(inputs, seed)
    return simulate(demo_config(run, seed), progress)


def demo_config(run: Path, seed: int) -> SimulationConfig:
    """The federation of the demo: small enough for two cores and three minutes."""
    tasks = run / "inputs" / "tasks"
    names = sorted(path.name for path in tasks.iterdir())
    return SimulationConfig(
        name="demo",
        base=str(run / "inputs" / "base"),
        tasks=str(tasks),
        held_out=[name for name in names if name.startswith(HELD_OUT)],
        rounds=ROUNDS,
        contributors_per_round=CONTRIBUTORS_PER_ROUND,
        seed=seed,
        run=str(run),
        # The base is untrained, so the contributors take long steps.
        training=TrainingConfig(lr=2e-3, epochs=3, batch_size=32, max_length=128, warmup=0.1),
        probe=ProbeConfig(max_length=128),
        policy=Policy(quorum=2, leave_one_out=0),  # it would take as long as the training
        fine_tune_score=FineTuneScoreConfig(rounds="none"),
    )


def _make_inputs(target: Path, seed: int) -> None:
    fresh = target.with_name("inputs.partial")
    with writing(target):
        shutil.rmtree(fresh, ignore_errors=True)
        passages = read_passages()
        write_tasks(fresh / "tasks", passages, contributed=CONTRIBUTED, held_out=HELD_OUT_TASKS, seed=seed)
        make_base(fresh / "base", (passage.text for passage in passages), seed=seed)
        fresh.rename(target)
