from pathlib import Path

from typer.testing import CliRunner

from coldfusion.cli import app
from tests.tasks import write_csv


def test_the_command_says_whom_it_accuses_and_what_it_finds(tmp_path: Path) -> None:
    def write(task: str, split: str, words: list[str]) -> None:
        rows = [(" ".join(f"{word}{j}" for j in range(20)), i % 2) for i, word in enumerate(words)]
        write_csv(tmp_path / task / f"{split}.csv", ["text", "label"], rows)

    for task in ("pears", "apples", "plums"):
        write(task, "train", [f"{task}{letter}" for letter in "abcd"])
        write(task, "test", [f"{task}{letter}" for letter in "xy"] + ["pearsa"] * (task == "plums"))
    done = CliRunner().invoke(app, ["bench", "hygiene", "--tasks", str(tmp_path), "--held-out", "pears"])
    assert done.exit_code == 0, done.output
    lines = [" ".join(line.replace("│", " ").split()) for line in done.output.splitlines()]
    assert "plums 7 1 0 0 14.29%" in lines and "all 13 1 0 0 7.69%" in lines
    assert not any(line.startswith("apples") for line in lines)
    assert "case and punctuation - - 100.0% -" in lines
