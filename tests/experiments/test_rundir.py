"""What a full disk does to a run: one clear line, nothing half-written, and it goes on when there is room."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from coldfusion.errors import ColdFusionError, StorageError
from contributors.config import PoolConfig, ProbeConfig, TrainingConfig
from experiments.config import FineTuneScoreConfig, SimulationConfig
from experiments.progress import RunProgress
from experiments.report import Run
from experiments.simulation import simulate
from tests.smalldisk import SmallDisk
from tests.tasks import write_tasks

QUICK = TrainingConfig(lr=3e-3, epochs=1, batch_size=8, max_length=16, bf16=False)


@pytest.fixture
def config(tiny_base: Path, tmp_path: Path) -> SimulationConfig:
    return SimulationConfig(
        name="small",
        base=str(tiny_base),
        tasks=str(write_tasks(tmp_path / "tasks", ["apple", "berry", "cherry"])),
        held_out=["cherry"],
        scored=[],
        rounds=1,
        contributors_per_round=2,
        run=str(tmp_path / "run"),
        training=QUICK,
        probe=ProbeConfig(max_length=16, bf16=False),
        fine_tune_score=FineTuneScoreConfig(rounds="none"),
        pool=PoolConfig(backend="serial"),
    )


def run(config: SimulationConfig) -> Run:
    return simulate(config, RunProgress(Console(file=io.StringIO()), config.rounds))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # dulwich drops a file open
def test_a_full_disk_is_one_line_and_with_more_room_the_run_goes_on_to_the_same_bytes(
    config: SimulationConfig, disk: SmallDisk
) -> None:
    whole = run(config)
    squeezed = dataclasses.replace(config, run=str(disk.path / "run"))
    failures = 0
    for kilobytes in range(50, 5000, 50):
        disk.resize(kilobytes, "remount")
        try:
            result = run(squeezed)
            break
        except ColdFusionError as exc:
            assert isinstance(exc, StorageError), exc
            assert "\n" not in str(exc)
            assert "No space left on device" in str(exc) or "are free there" in str(exc)
            failures += 1
    assert failures > 5
    assert [record.output for record in result.records] == [record.output for record in whole.records]
    assert [record.evaluation for record in result.records] == [record.evaluation for record in whole.records]
    assert not list(disk.path.rglob("*.partial"))
