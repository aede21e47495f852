from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from coldfusion.errors import DataError
from coldfusion.heldout import HeldOut, write_held_out
from contributors.data import Split, load_examples, load_task
from contributors.hygiene import hold_out, published_sources, refuse_name, sift
from contributors.likeness import name_hash
from contributors.tasks import Task, check_task, validation_of
from tests.tasks import write_csv, write_task

SALT = bytes(16)


def texts(count: int, word: str) -> list[str]:
    """Of nine words each, no two of which share a piece."""
    return [" ".join(f"{word}{i}x{j}" for j in range(9)) for i in range(count)]


def write(path: Path, rows: Sequence[str]) -> str:
    return write_csv(path, ["text", "label"], [(text, i % 2) for i, text in enumerate(rows)])


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """pears: 20 training texts, 10 test texts."""
    folder = tmp_path_factory.mktemp("tasks") / "pears"
    train, test = (write(folder / f"{name}.csv", texts(n, name)) for name, n in (("train", 20), ("test", 10)))
    return check_task("pears", train, test, held_out=True)


@pytest.fixture(scope="module")
def held_out(task: Task) -> HeldOut:
    return hold_out([task], SALT)


@pytest.mark.parametrize("taken", ["train", "test"])
def test_held_out_texts_are_left_out_of_either_split(held_out: HeldOut, tmp_path: Path, taken: str) -> None:
    mine = texts(38, "mine")
    data = write(tmp_path / "mine.csv", [*mine, *(text.upper() for text in texts(2, taken))])
    sifted = sift(data, load_examples(data), held_out)
    assert sifted.line == "2 of 40 texts are held-out texts or nearly so: left out"
    assert sifted.examples.rows["text"][:] == mine and sifted.examples.num_labels == 2


def test_innocent_data_stays_as_it_is(held_out: HeldOut, tmp_path: Path) -> None:
    data = write(tmp_path / "mine.csv", texts(40, "mine"))
    examples = load_examples(data)
    sifted = sift(data, examples, held_out)
    assert sifted.examples is examples and sifted.line == "0 of 40 texts are held-out texts or nearly so"


def test_data_of_which_more_than_a_tenth_is_held_out_is_refused(held_out: HeldOut, tmp_path: Path) -> None:
    data = write(tmp_path / "mine.csv", [*texts(35, "mine"), *texts(5, "test")])
    with pytest.raises(
        DataError, match="mine.csv: 5 of 40 texts are held-out .* more than 10%: .* other data"
    ):
        sift(data, load_examples(data), held_out)


def test_the_part_that_is_not_scored_on_is_held_out_too(task: Task, held_out: HeldOut) -> None:
    smaller = replace(task, train=replace(task.train, most=4), test=replace(task.test, most=2))
    assert hold_out([smaller], SALT).wholes.tolist() == held_out.wholes.tolist()


def test_the_same_suite_in_another_order_gives_the_same_bytes(task: Task, tmp_path: Path) -> None:
    folder = write_task(tmp_path / "plums", seed=3)
    plums = check_task("plums", str(folder / "train.csv"), str(folder / "test.csv"), held_out=True)
    one, other = (
        write_held_out(hold_out(tasks, SALT), tmp_path / name)
        for name, tasks in (("one", [task, plums]), ("other", [plums, task]))
    )
    assert one.read_bytes() == other.read_bytes()


def test_of_a_large_suite_a_part_is_published_and_what_is_found_counts_for_more(
    task: Task, tmp_path: Path
) -> None:
    part = hold_out([task], SALT, most=150)  # of 30 texts and 180 pieces
    assert part.terms.thin == 2 and part.terms.num_texts == 30
    found = len(part.wholes)
    assert 0 < found < 30 and len(part.pieces) == 6 * found
    data = write(tmp_path / "mine.csv", [*texts(20, "train"), *texts(10, "test"), *texts(9 * found, "mine")])
    with pytest.raises(DataError, match=r"\(told by one in 2 of the held-out texts\), more than 10%"):
        sift(data, load_examples(data), part)


@pytest.mark.parametrize(
    "name", ["pears/train.csv", "pears.csv", "PEARS.jsonl", "org/pears", "org/set:pears"]
)
def test_data_that_is_called_like_a_held_out_task_is_refused(held_out: HeldOut, name: str) -> None:
    with pytest.raises(DataError, match=f"{name}: this federation holds out a task of that name"):
        refuse_name(name, held_out)


@pytest.mark.parametrize("name", ["train.csv", "apples/pears_2.csv", "pears/apples.csv", "pears/set", "set"])
def test_other_names_are_innocent(held_out: HeldOut, name: str) -> None:
    refuse_name(name, held_out)


def test_the_data_set_that_a_held_out_task_comes_from_is_refused_whatever_the_task_is_called(
    task: Task, held_out: HeldOut
) -> None:
    sources = (name_hash("org/fruit:small", SALT),)
    held_out = replace(held_out, terms=replace(held_out.terms, tasks=("quinces",), sources=sources))
    with pytest.raises(DataError, match="Org/Fruit:small"):
        refuse_name("Org/Fruit:small", held_out)
    refuse_name("org/fruit:large", held_out)


def test_names_of_data_sets_are_published_as_hashes_and_paths_not_at_all(task: Task) -> None:
    online = replace(task, train=Split("org/fruit"))
    assert published_sources([online], SALT) == (name_hash("org/fruit", SALT),)


def test_the_gate_judges_without_the_test_split(task: Task) -> None:
    judged = validation_of(replace(task, test=Split("gone.csv")))
    rest, validation = load_task(judged.train, judged.test)
    assert {*rest.rows["text"], *validation.rows["text"]} == set(texts(20, "train"))
    assert not {*rest.rows["text"]} & {*validation.rows["text"]}
