import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import GPT2Config

from coldfusion import __version__
from coldfusion.cli import main
from coldfusion.config import dump
from contributors.config import PoolConfig, ProbeConfig, TrainingConfig
from experiments.config import FineTuneScoreConfig, SimulationConfig
from tests.tasks import write_csv, write_tasks

QUICK = TrainingConfig(lr=3e-3, epochs=1, batch_size=8, max_length=16, bf16=False)


@pytest.fixture
def config(tiny_base: Path, tmp_path: Path) -> Path:
    """The YAML file of a small simulation."""
    settings = SimulationConfig(
        name="small",
        base=str(tiny_base),
        tasks=str(write_tasks(tmp_path / "tasks", ["apple", "berry", "cherry"])),
        held_out=["cherry"],
        rounds=1,
        contributors_per_round=2,
        run=str(tmp_path / "run"),
        training=QUICK,
        probe=ProbeConfig(max_length=16, bf16=False),
        fine_tune_score=FineTuneScoreConfig(rounds="none"),
        pool=PoolConfig(backend="serial"),
    )
    (tmp_path / "small.yaml").write_text(dump(settings))
    return tmp_path / "small.yaml"


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['coldfusion', '--help']\n"
        "from coldfusion.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'ray', 'transformers', 'datasets', 'numpy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "demo" in out and "simulate" in out
    assert out.strip().endswith("[]")


def test_version(command: Callable[..., tuple[int, str, str]]) -> None:
    assert command("--version") == (0, f"{__version__}\n", "")


def test_simulate_ends_with_a_table_and_says_where_everything_is(
    command: Callable[..., tuple[int, str, str]], config: Path, tmp_path: Path
) -> None:
    code, out, _ = command("simulate", str(config), "seed=3")
    assert code == 0
    assert "contributed tasks" in out and "held-out tasks" in out and "+0.0 [+0.0, +0.0]" in out
    for path in (tmp_path / "run" / "report.html", tmp_path / "run" / "base"):
        assert str(path) in out and path.exists()


def test_fresh_starts_over(
    command: Callable[..., tuple[int, str, str]], config: Path, tmp_path: Path
) -> None:
    command("simulate", str(config))
    assert command("simulate", str(config), "seed=1")[0] == 2
    assert command("simulate", str(config), "seed=1", "--fresh")[0] == 0


def test_fresh_deletes_nothing_but_runs(
    command: Callable[..., tuple[int, str, str]], config: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    code, _, err = command("simulate", str(config), "--fresh")
    assert code == 2 and "is not the directory of a run" in err
    assert (tmp_path / "run" / "thesis.tex").exists()


BAD_CONFIGS = {
    "misspelt key": (["bas=x"], "Key 'bas' not in 'SimulationConfig'. Did you mean: 'base'?"),
    "wrong type": (["rounds=some"], "'some' of type 'str' could not be converted to Integer"),
    "held-out and contributed": (
        ["contributed=[apple,cherry]"],
        "held-out task 'cherry' is among the contributed",
    ),
    "no base there": (["base=/nowhere"], "/nowhere: no model can be had"),
    "no tasks there": (["tasks=/nowhere"], "tasks=/nowhere: no such folder"),
    "unknown fuser": (["policy.fuser=avg"], "fuser 'avg' is not known; known: mean"),
    "misspelt option of the fuser": (["policy.fuser_options.densty=1"], "mean has no option 'densty'"),
    "unknown outer optimiser": (["policy.outer=lion"], "outer 'lion' is not known; known: sgd, momentum"),
    "unknown backend": (["pool.backend=dask"], "pool.backend 'dask' is not one of ray, serial"),
    "unknown task": (["held_out=[fig]"], "no task 'fig' there"),
}


@pytest.mark.parametrize("overrides, message", BAD_CONFIGS.values(), ids=BAD_CONFIGS)
def test_a_bad_config_is_one_line_and_exit_code_2_with_nothing_half_written(
    command: Callable[..., tuple[int, str, str]], config: Path, overrides: list[str], message: str
) -> None:
    code, _, err = command("simulate", str(config), *overrides)
    assert code == 2
    assert err.count("\n") == 1 and err.startswith("coldfusion: ") and message in err
    assert not (config.parent / "run").exists()


BAD_DATA: dict[str, tuple[list[str], list[tuple[object, ...]], str]] = {
    "no label column": (["text", "y"], [("a", 1), ("b", 2)], "no column 'label'; it has text, y"),
    "one label only": (["text", "label"], [("a", 1), ("b", 1)], "every row has the same label 1"),
    "empty": (["text", "label"], [], "holds no examples"),
}


@pytest.mark.parametrize("columns, rows, message", BAD_DATA.values(), ids=BAD_DATA)
def test_bad_data_is_one_line_and_exit_code_2_with_nothing_half_written(
    command: Callable[..., tuple[int, str, str]],
    config: Path,
    columns: list[str],
    rows: list[tuple[object, ...]],
    message: str,
) -> None:
    path = write_csv(config.parent / "tasks" / "berry" / "train.csv", columns, rows)
    code, _, err = command("simulate", str(config))
    assert code == 2 and err.startswith(f"coldfusion: {path}: {message}") and err.count("\n") == 1
    assert not (config.parent / "run").exists()


def test_a_missing_data_file_is_one_line_and_exit_code_2(
    command: Callable[..., tuple[int, str, str]], config: Path
) -> None:
    (config.parent / "tasks" / "berry" / "train.csv").unlink()
    code, _, err = command("simulate", str(config))
    assert code == 2 and "berry: no train split" in err and not (config.parent / "run").exists()


def test_a_base_that_is_no_encoder_is_one_line_and_exit_code_2(
    command: Callable[..., tuple[int, str, str]], config: Path, tmp_path: Path
) -> None:
    GPT2Config(vocab_size=10, n_embd=8, n_layer=1, n_head=2).save_pretrained(tmp_path / "gpt2")
    code, _, err = command("simulate", str(config), f"base={tmp_path}/gpt2")
    assert code == 2 and "gpt2 is not an encoder" in err and err.count("\n") == 1
    assert not (config.parent / "run").exists()


def test_an_unknown_benchmark_is_refused(command: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = command("bench", "speed")
    assert code == 2 and "No such command 'speed'" in err


def test_verbose_keeps_the_traceback(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["coldfusion", "--verbose", "simulate", str(config), "bas=x"])
    with pytest.raises(Exception, match="Key 'bas'"):
        main()


@pytest.mark.parametrize("verb", ["coordinate", "status"])
def test_without_trackio_nothing_is_begun(
    command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: str
) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    monkeypatch.setitem(sys.modules, "trackio.sqlite_storage", None)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    code, _, err = command(verb, str(tmp_path / "store"), "--trackio")
    assert code == 2 and "pip install coldfusion[trackio]" in err and err.count("\n") == 1
