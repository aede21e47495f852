"""Small labelled tasks: sentences whose label hangs on one of their words."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SUBJECTS = [
    "the soup",
    "this film",
    "our train",
    "the old book",
    "her garden",
    "a long winter",
    "the small town",
]
PLEASANT = ["wonderful", "warm", "delightful", "bright", "excellent"]
UNPLEASANT = ["awful", "cold", "boring", "dull", "terrible"]
FILLERS = ["was quite", "turned out", "seemed rather", "is still", "felt"]


def sentences(count: int, *, seed: int) -> tuple[list[str], list[str]]:
    """(texts, labels `good` or `bad`)."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(["good", "bad"], count).tolist()
    texts = [
        f"{rng.choice(SUBJECTS)} {rng.choice(FILLERS)} {rng.choice(PLEASANT if y == 'good' else UNPLEASANT)}"
        for y in labels
    ]
    return texts, labels


def graded(count: int, *, seed: int) -> tuple[list[str], list[float]]:
    """(texts, how pleasant each is, around 0 to 5)."""
    texts, labels = sentences(count, seed=seed)
    noise = np.random.default_rng(seed).normal(0, 0.3, count)
    return texts, [
        round((4.5 if y == "good" else 0.5) + e, 2) for y, e in zip(labels, noise.tolist(), strict=True)
    ]


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return str(path)


def write_task(folder: Path, *, seed: int, train: int = 40, test: int = 20) -> Path:
    """A folder with train.csv and test.csv."""
    for split, count, offset in (("train", train, 0), ("test", test, 1000)):
        write_csv(
            folder / f"{split}.csv",
            ["text", "label"],
            list(zip(*sentences(count, seed=seed + offset), strict=True)),
        )
    return folder


def write_tasks(folder: Path, names: Sequence[str]) -> Path:
    for seed, name in enumerate(names):
        write_task(folder / name, seed=seed)
    return folder
