from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from coldfusion.cli import app
from coldfusion.scores import Outcome
from experiments.intervals import self_comparisons
from tests.tasks import write_task


def fits() -> dict[str, list[Outcome]]:
    """Twelve tasks of 400 examples, on each of which twenty probes are right in 80 of 100 cases."""
    rng = np.random.default_rng(0)
    return {
        f"task {t}": [
            Outcome(
                task=f"task {t}",
                held_out=True,
                protocol="probe",
                seed=k,
                metric="accuracy",
                truth=np.ones(400),
                predicted=(rng.random(400) < 0.8).astype(float),
            )
            for k in range(20)
        ]
        for t in range(12)
    }


def test_where_nothing_is_to_be_found_zero_is_seldom_excluded() -> None:
    # All that differs is noise of examples, of which the larger of two estimates is taken: some 3 in 100.
    found = self_comparisons(fits(), runs=400, tasks_per_run=8, seed=0)
    assert 0.01 <= found.share <= 0.08 and 2 < found.mean_width < 8


def test_the_command_says_how_often(tmp_path: Path, tiny_base: Path) -> None:
    for seed, name in enumerate("ab"):
        write_task(tmp_path / "tasks" / name, seed=seed, train=60)
    where = ["--base", str(tiny_base), "--tasks", str(tmp_path / "tasks")]
    line = ["bench", "intervals", *where, "--runs", "5", "--per-run", "2"]
    said = CliRunner().invoke(app, line, catch_exceptions=False).output
    assert "a: 8 probes" in said and "2 tasks: zero excluded in" in said


def test_the_probe_benchmark_compares_seconds_and_accuracy(tmp_path: Path, tiny_base: Path) -> None:
    write_task(tmp_path / "tasks" / "words", seed=0, train=60)
    where = ["--base", str(tiny_base), "--tasks", str(tmp_path / "tasks")]
    line = ["bench", "probe", *where, "--threads", "1"]
    said = CliRunner().invoke(app, line, catch_exceptions=False).output
    assert "words: probe" in said and "mean difference" in " ".join(said.split())
