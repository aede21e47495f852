import os
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from coldfusion.errors import DataError
from contributors.data import Scale, Split, load_examples, load_task
from tests.tasks import write_csv

ROWS = [("a fine day", "good"), ("a foul day", "bad"), ("fine", "good")]


def dataset() -> Dataset:
    return Dataset.from_dict({"text": [t for t, _ in ROWS], "label": [y for _, y in ROWS]})


def test_every_format_gives_the_same_examples(tmp_path: Path) -> None:
    dataset().to_csv(tmp_path / "x.csv", index=False)
    dataset().to_csv(tmp_path / "x.tsv", index=False, sep="\t")
    dataset().to_json(tmp_path / "x.jsonl")
    dataset().to_parquet(tmp_path / "x.parquet")
    dataset().save_to_disk(tmp_path / "saved")
    DatasetDict(train=dataset(), test=dataset().select([0, 1])).save_to_disk(tmp_path / "splits")
    found = [
        load_examples(str(tmp_path / n))
        for n in ("x.csv", "x.tsv", "x.jsonl", "x.parquet", "saved", "splits")
    ]
    for examples in found:
        assert examples.rows["text"][:] == [text for text, _ in ROWS]
        assert examples.rows["label"][:] == [1, 0, 1]  # bad, good
    assert len({examples.digest for examples in found}) == 1
    assert len(load_examples(str(tmp_path / "splits"), split="test").rows) == 2


def test_pairs_and_numbers_and_words_that_look_like_nothing(tmp_path: Path) -> None:
    rows = [("NA", "12", 3), ("null", "7", 5), ("", "None", 3)]
    examples = load_examples(write_csv(tmp_path / "x.csv", ["text", "text_pair", "label"], rows))
    assert examples.is_pair and examples.num_labels == 2
    assert examples.rows["text"][:] == ["NA", "null", ""]
    assert examples.rows["text_pair"][:] == ["12", "7", "None"]
    assert examples.rows["label"][:] == [0, 1, 0]


def test_a_column_of_floats_is_numbers_and_one_of_integers_classes(tmp_path: Path) -> None:
    train = write_csv(tmp_path / "train.csv", ["text", "label"], [("a", 4.5), ("b", 0), ("c", 1.5)])
    test = write_csv(tmp_path / "test.csv", ["text", "label"], [("d", 3), ("e", 7)])
    one, two = load_task(Split(train), Split(test))
    assert (one.num_labels, one.labels.tolist(), two.labels.tolist()) == (1, [4.5, 0, 1.5], [3, 7])
    assert one.scale == Scale(2.0, pytest.approx(np.sqrt((2.5**2 + 2**2 + 0.5**2) / 3)))
    assert sorted(one.with_shuffled_labels(seed=0).labels) == [0, 1.5, 4.5]
    classes = load_examples(test)
    assert (classes.num_labels, classes.labels.tolist(), classes.scale) == (2, [0, 1], None)
    with pytest.raises(DataError, match="labels are numbers like 4.5, in training classes"):
        load_task(Split(test), Split(train))
    words = write_csv(tmp_path / "words.csv", ["text", "label"], [("a", "x"), ("b", "y")])
    with pytest.raises(DataError, match="label 'x' is no number, as in the training data"):
        load_task(Split(train), Split(words))


def test_other_columns_are_left_behind(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "x.csv", ["id", "text", "label"], [(1, "a", 0), (2, "b", 1)])
    assert load_examples(path).rows.column_names == ["text", "label"]


def test_class_labels_keep_their_numbers(tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["z", "a"])})
    Dataset.from_dict({"text": ["x", "y"], "label": [1, 0]}, features=features).save_to_disk(tmp_path / "d")
    assert load_examples(str(tmp_path / "d")).rows["label"][:] == [1, 0]


def test_the_splits_of_a_task_share_their_labels(tmp_path: Path) -> None:
    train = write_csv(tmp_path / "train.csv", ["text", "label"], [("a", "x"), ("b", "y"), ("c", "z")])
    test = write_csv(tmp_path / "test.csv", ["text", "label"], [("d", "z"), ("e", "y")])
    assert load_task(Split(train), Split(test))[1].rows["label"][:] == [2, 1]


def test_columns_of_other_names_are_told(tmp_path: Path) -> None:
    rows = [("a", "no", 1), ("b", "no", 2)]
    path = write_csv(tmp_path / "x.csv", ["sentence", "text", "grade"], rows)
    named = Split(path, columns=(("label", "grade"), ("text", "sentence")))
    assert load_task(named, named)[0].rows[:] == {"text": ["a", "b"], "label": [0, 1]}


def test_a_part_of_a_split_validates_and_the_rest_trains(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "x.csv", ["text", "label"], [(f"t{i}", i % 2) for i in range(40)])
    rest, validation = load_task(Split(path, part="rest"), Split(path, part="validation"))
    assert (len(rest.rows), len(validation.rows)) == (30, 10)
    assert not set(rest.rows["text"]) & set(validation.rows["text"])
    again = load_task(Split(path, part="rest"), Split(path, part="validation"))[1]
    assert again.digest == validation.digest


def test_shuffled_labels_are_the_same_labels_of_other_texts(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "x.csv", ["text", "label"], [(f"t{i}", i % 4) for i in range(40)])
    examples = load_examples(path)
    shuffled = examples.with_shuffled_labels(seed=1)
    assert shuffled.rows["text"][:] == examples.rows["text"][:]
    assert sorted(shuffled.rows["label"][:]) == sorted(examples.rows["label"][:])
    assert shuffled.digest != examples.digest == load_examples(path).digest


def test_no_copy_of_private_data_is_left_behind(tmp_path: Path) -> None:
    secret = "correct horse battery staple"
    load_examples(write_csv(tmp_path / "x.csv", ["text", "label"], [(secret, 0), ("b", 1)]))
    kept = [path for path in Path(os.environ["HF_HOME"]).rglob("*") if path.is_file()]
    assert not any(secret.encode() in path.read_bytes() for path in kept)


def test_sampling_is_by_seed_and_no_more_than_asked(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "x.csv", ["text", "label"], [(f"t{i}", i % 2) for i in range(20)])
    examples = load_examples(path)
    one, again, other = (examples.sample(5, seed=s).rows["text"][:] for s in (1, 1, 2))
    assert one == again != other and len(set(one)) == 5
    assert examples.sample(None, seed=1) is examples is examples.sample(20, seed=1)


BAD: dict[str, tuple[list[str], list[tuple[object, ...]], str]] = {
    "no label column": (["text", "y"], [("a", 0)], "no column 'label'; it has text, y"),
    "no text column": (["sentence", "label"], [("a", 0)], "no column 'text'"),
    "no rows": (["text", "label"], [], "holds no examples"),
    "one label only": (["text", "label"], [("a", 1), ("b", 1)], "every row has the same label 1"),
    "one number only": (["text", "label"], [("a", 1.5), ("b", 1.5)], "every row has the same label 1.5"),
    "a blank": (["text", "label"], [("a", 1.5), ("b", ""), ("c", 2.5)], "1 rows have no label"),
    "no number": (["text", "label"], [("a", 1.5), ("b", "inf")], "1 labels are not finite numbers"),
}


@pytest.mark.parametrize("columns, rows, message", BAD.values(), ids=BAD)
def test_bad_data_is_one_line_that_names_the_file(
    tmp_path: Path, columns: list[str], rows: list[tuple[object, ...]], message: str
) -> None:
    path = write_csv(tmp_path / "x.csv", columns, rows)
    with pytest.raises(DataError) as caught:
        load_examples(path)
    assert str(caught.value).startswith(path) and message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_text_is_counted(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "a", "label": 0}\n{"text": null, "label": 1}\n')
    with pytest.raises(DataError, match="1 rows have no text"):
        load_examples(str(tmp_path / "x.jsonl"))


@pytest.mark.parametrize(
    "name, message",
    [
        ("no.csv", "no such file"),
        ("some.xlsx", "cannot read '.xlsx' files"),
        ("empty.csv", "cannot be read|holds no examples"),
        ("broken.jsonl", "cannot be read"),
        ("lab/data", "no data set of that name can be had"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, message: str) -> None:
    for existing in ("some.xlsx", "empty.csv"):
        (tmp_path / existing).touch()
    (tmp_path / "broken.jsonl").write_text('{"text": ')
    source = name if name == "lab/data" else str(tmp_path / name)
    with pytest.raises(DataError, match=message) as caught:
        load_examples(source)
    assert source in str(caught.value) and "\n" not in str(caught.value)


def test_a_test_label_that_training_never_saw_is_refused(tmp_path: Path) -> None:
    train = write_csv(tmp_path / "train.csv", ["text", "label"], [("a", "x"), ("b", "y")])
    test = write_csv(tmp_path / "test.csv", ["text", "label"], [("d", "z"), ("e", "y")])
    with pytest.raises(DataError, match="label 'z' does not occur in the training data"):
        load_task(Split(train), Split(test))
