"""A folder of tasks: NAME/train.csv and NAME/test.csv (or tsv, jsonl, parquet)."""

from __future__ import annotations

from pathlib import Path

from coldfusion.errors import DataError
from contributors.data import KNOWN_SUFFIXES
from contributors.tasks import Task, check_task


def task_names(folder: Path) -> list[str]:
    """The tasks in a folder, by name. Raises DataError where it is none."""
    if not folder.is_dir():
        raise DataError(f"tasks={folder}: no such folder")
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def read_task(folder: Path, name: str, *, held_out: bool) -> Task:
    """One task of a folder, checked. Raises DataError."""
    train, test = (_split_file(folder / name, split) for split in ("train", "test"))
    return check_task(name, train, test, held_out=held_out)


def read_tasks(folder: Path) -> list[Task]:
    """Every task of a folder, as held-out ones. Raises DataError where there is none."""
    names = task_names(folder)
    if not names:
        raise DataError(f"tasks={folder}: no task there; expected {folder}/NAME/train.csv and test.csv")
    return [read_task(folder, name, held_out=True) for name in names]


def _split_file(folder: Path, split: str) -> str:
    for suffix in KNOWN_SUFFIXES:
        path = folder / f"{split}{suffix}"
        if path.exists():
            return str(path)
    raise DataError(f"{folder}: no {split} split; expected {split}.csv, .tsv, .jsonl or .parquet")
