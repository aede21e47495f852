import csv
from pathlib import Path

import pytest

from experiments.documentation import AREAS, HELD_OUT, Passage, read_passages, write_tasks


@pytest.fixture(scope="module")
def passages() -> list[Passage]:
    return read_passages()


@pytest.fixture(scope="module")
def folder(passages: list[Passage], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    write_tasks(folder, passages, contributed=10, held_out=6, seed=0)
    return folder


def rows(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def texts(folder: Path) -> list[str]:
    return [text for split in ("train", "test") for text, _ in rows(folder / f"{split}.csv")]


def test_every_task_has_four_areas_and_enough_text(folder: Path) -> None:
    for task in folder.iterdir():
        assert (
            {label for _, label in rows(task / "train.csv")}
            == {label for _, label in rows(task / "test.csv")}
            <= set(AREAS)
        )
        assert len({label for _, label in rows(task / "train.csv")}) == 4
        assert len(rows(task / "train.csv")) >= 200 and len(rows(task / "test.csv")) >= 100


def test_no_passage_is_in_two_tasks_or_in_both_splits(folder: Path) -> None:
    everything = [text for task in folder.iterdir() for text in texts(task)]
    assert len(everything) == len(set(everything))


def test_held_out_tasks_are_about_other_modules(folder: Path, passages: list[Passage]) -> None:
    module_of = {passage.text: passage.module for passage in passages}
    modules: dict[bool, set[str]] = {True: set(), False: set()}
    for task in folder.iterdir():
        modules[task.name.startswith(HELD_OUT)] |= {module_of[text] for text in texts(task)}
    assert modules[True] and not modules[True] & modules[False]


def test_the_same_seed_makes_the_same_tasks(folder: Path, passages: list[Passage], tmp_path: Path) -> None:
    write_tasks(tmp_path / "again", passages, contributed=10, held_out=6, seed=0)
    one, two = (
        {p.relative_to(f): p.read_bytes() for p in f.rglob("*.csv")} for f in (folder, tmp_path / "again")
    )
    assert one == two and len(one) == 2 * 16
    write_tasks(tmp_path / "other", passages, contributed=10, held_out=6, seed=1)
    assert {p.name for p in (tmp_path / "other").iterdir()} != {p.name for p in folder.iterdir()}


def test_passages_are_prose(passages: list[Passage]) -> None:
    assert len(passages) > 10_000
    assert all(len(p.text) < 400 and ">>>" not in p.text and len(p.text.split()) >= 6 for p in passages)
