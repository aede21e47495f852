"""Private data, read through `datasets`: columns `text`, optional `text_pair`, and `label`.

A label is a class, or a number where the column holds floats. The data stay on this machine. Columns are read
whole (`rows["label"][:]`): value by value costs a thousand times as much.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Value
from numpy.typing import NDArray

from coldfusion.errors import DataError

_READERS: dict[str, tuple[str, dict[str, Any]]] = {
    # Without keep_default_na=False the words "null", "NA" and "None" would be read as missing texts.
    ".csv": ("csv", {"keep_default_na": False}),
    ".tsv": ("csv", {"keep_default_na": False, "sep": "\t"}),
    ".jsonl": ("json", {}),
    ".json": ("json", {}),
    ".parquet": ("parquet", {}),
}
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
KNOWN_SUFFIXES = tuple(_READERS)


@dataclass(frozen=True, slots=True)
class Split:
    """Where the examples of one split are, see `load_examples`."""

    source: str
    split: str = ""  # of a data set that has several; "": "train", or "test" for the test split of a task
    columns: tuple[tuple[str, str], ...] = ()  # (ours, the source's): ("text", "sentence")
    most: int | None = None  # examples, drawn at random; None: all
    part: str = ""  # "validation": a quarter of them, drawn at random; "rest": the others; "": all


VALIDATION = 0.25
"""The share of a training split that validates, where nothing else does."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Mean and spread (standard deviation, above 0) of labels that are numbers, in their unit."""

    mean: float
    spread: float


@dataclass(frozen=True, slots=True)
class Examples:
    """Labelled texts in memory.

    Columns `text`, `text_pair` where there are pairs, and `label`: from 0 to num_labels - 1, or any number.
    """

    rows: Dataset
    num_labels: int  # 1: labels are numbers

    @property
    def is_pair(self) -> bool:
        return "text_pair" in self.rows.column_names

    @property
    def labels(self) -> NDArray[Any]:
        """(number of examples,): int64, or fp64 where they are numbers."""
        return np.array(self.rows["label"][:], np.float64 if self.num_labels == 1 else np.int64)

    @property
    def scale(self) -> Scale | None:
        """Of the labels; None where they are classes."""
        if self.num_labels != 1:
            return None
        labels = self.labels
        return Scale(float(labels.mean()), float(labels.std()) or 1.0)

    @property
    def texts(self) -> list[tuple[str, ...]]:
        """Of each example: its text, or its two texts."""
        names = [name for name in ("text", "text_pair") if name in self.rows.column_names]
        return list(zip(*(self.rows[name][:] for name in names), strict=True))

    @property
    def characters(self) -> int:
        """In all texts together."""
        return sum(len(text) for example in self.texts for text in example)

    @property
    def digest(self) -> str:
        """sha256 of the contents.

        Equal for equal texts and labels in the same order, whatever file they came from.
        """
        digest = hashlib.sha256()
        for texts, label in zip(self.texts, self.rows["label"][:], strict=True):
            digest.update(json.dumps([texts[0], texts[1] if self.is_pair else None, label]).encode())
        return digest.hexdigest()

    def sample(self, most: int | None, *, seed: int) -> Examples:
        """At most so many examples, drawn at random.

        All of them, in their order, where `most` is None or enough.
        """
        if most is None or most >= len(self.rows):
            return self
        return Examples(
            self.rows.shuffle(seed=seed, keep_in_memory=True).select(range(most)), self.num_labels
        )

    def with_shuffled_labels(self, *, seed: int) -> Examples:
        """The same texts, with labels that have nothing to do with them."""
        labels = np.random.default_rng(seed).permutation(self.labels)
        return Examples(
            self.rows.remove_columns("label").add_column("label", labels.tolist()), self.num_labels
        )

    def split(self, share: float, *, seed: int) -> tuple[Examples, Examples]:
        """(the rest, a random share), for a validation split."""
        parts = self.rows.train_test_split(test_size=share, seed=seed, keep_in_memory=True)
        return Examples(parts["train"], self.num_labels), Examples(parts["test"], self.num_labels)


def load_examples(source: str, *, split: str = "train") -> Examples:
    """Read labelled texts.

    source: a csv, tsv, jsonl or parquet file, a folder that `Dataset.save_to_disk` wrote, or the name of a
    data set on the Hub, optionally as `name:config`. Classes are numbered in their sorted order. Raises
    DataError, naming the source and what is wrong with it.
    """
    rows = _columns(_read(source, split), source)
    return _labelled(rows, _classes(rows, source), source)


def load_task(train: Split, test: Split) -> tuple[Examples, Examples]:
    """The train and test splits of a task, with the same numbers for the same labels."""
    train_rows = _rows(train, "train")
    # A validation split is a part of the training split.
    test_rows = train_rows if test.part else _rows(test, "test")
    classes = _classes(train_rows, train.source)
    splits = ((train, train_rows), (test, test_rows))
    made = [_part(_labelled(rows, classes, s.source).sample(s.most, seed=0), s.part) for s, rows in splits]
    return made[0], made[1]


def _part(examples: Examples, part: str) -> Examples:
    if not part:
        return examples
    rest, validation = examples.split(VALIDATION, seed=0)
    return validation if part == "validation" else rest


def _rows(wanted: Split, name: str) -> Dataset:
    rows = _read(wanted.source, wanted.split or name)
    names = dict(wanted.columns)
    if odd := [theirs for theirs in names.values() if theirs not in rows.column_names]:
        raise DataError(f"{wanted.source}: no column {odd[0]!r}; it has {', '.join(rows.column_names)}")
    if names:
        kept = {name: name for name in ("text", "text_pair", "label") if name in rows.column_names}
        rows = rows.select_columns(list((kept | names).values()))
        rows = rows.rename_columns({theirs: ours for ours, theirs in names.items()})
    return _columns(rows, wanted.source)


def _classes(rows: Dataset, source: str) -> list[Any] | None:
    """The labels that occur, sorted; None where they are numbers."""
    values = set(rows["label"][:])
    if len(values) < 2:
        raise DataError(f"{source}: every row has the same label {values.pop()!r}; a task needs at least two")
    if _kind(rows) == "float":
        return None
    return sorted(values, key=lambda value: (isinstance(value, str), value))


def _labelled(rows: Dataset, classes: list[Any] | None, source: str) -> Examples:
    """The rows with each label as its position in `classes`, or as the number that it is."""
    if classes is None:
        return Examples(_with_numbers(rows, source), 1)
    if _kind(rows) == "float":
        raise DataError(f"{source}: labels are numbers like {rows[0]['label']!r}, in training classes")
    labels = rows["label"][:]
    if unknown := sorted(str(value) for value in set(labels) - set(classes)):
        raise DataError(f"{source}: label {unknown[0]!r} does not occur in the training data")
    codes = {value: code for code, value in enumerate(classes)}
    coded = rows.remove_columns("label").add_column("label", [codes[value] for value in labels])
    return Examples(coded, len(classes))


def _kind(rows: Dataset) -> str:
    """Of the labels: "float", "int" or "" for any other; by their type alone, as 1.0 is no class and 1 is."""
    feature = rows.features["label"]
    name = "" if isinstance(feature, ClassLabel) else str(getattr(feature, "dtype", ""))
    kinds = {"float": "float", "double": "float", "decimal": "float", "int": "int", "uint": "int"}
    return next((kind for prefix, kind in kinds.items() if name.startswith(prefix)), "")


def _with_numbers(rows: Dataset, source: str) -> Dataset:
    """A test split of a task with numbers may have whole ones only, which are read as integers."""
    if not _kind(rows):
        raise DataError(f"{source}: label {rows[0]['label']!r} is no number, as in the training data")
    if rows.features["label"] != Value("float64"):
        rows = rows.cast_column("label", Value("float64"))
    if odd := int((~np.isfinite(np.array(rows["label"][:]))).sum()):
        raise DataError(f"{source}: {odd} labels are not finite numbers")
    return rows


def is_on_hub(source: str) -> bool:
    """Whether this names a data set on the Hub, not a file or folder of this machine."""
    path = Path(source)
    return path.suffix.lower() not in _READERS and not path.exists()


def _read(source: str, split: str) -> Dataset:
    path = Path(source)
    suffix = path.suffix.lower()
    if is_on_hub(source):
        return _read_from_hub(source, split)
    if not path.exists():
        raise DataError(f"{source}: no such file")
    if not path.is_dir() and suffix not in _READERS:
        raise DataError(f"{source}: cannot read {suffix!r} files; known: {', '.join(_READERS)}")
    try:
        if path.is_dir():
            loaded = datasets.load_from_disk(source, keep_in_memory=True)
            return _pick(loaded, split, source)
        # A throw-away cache: no second copy of private data is left behind on the disk.
        with tempfile.TemporaryDirectory() as cache:
            kind, options = _READERS[suffix]
            return datasets.load_dataset(
                kind, data_files=source, split="train", cache_dir=cache, keep_in_memory=True, **options
            )
    except Exception as exc:  # datasets raises whatever its readers raise
        if "corresponds to no data" in str(exc):  # a header and nothing below it
            raise DataError(f"{source}: holds no examples") from exc
        raise DataError(f"{source}: cannot be read: {_first_line(exc)}") from exc


def _read_from_hub(name: str, split: str) -> Dataset:
    repo, _, config = name.partition(":")
    # A mistyped path must not be sent to anybody.
    if not _REPO_ID.fullmatch(repo) or Path(repo.split("/")[0]).exists():
        raise DataError(f"{name}: no such file, and not the name of a data set on the Hub")
    try:
        return datasets.load_dataset(repo, config or None, split=split)
    except Exception as exc:  # not there, no rights, no network, no such split: all one to the user
        raise DataError(
            f"{name}: no such file, and no data set of that name can be had: {_first_line(exc)}"
        ) from exc


def _pick(loaded: Dataset | DatasetDict, split: str, source: str) -> Dataset:
    if isinstance(loaded, Dataset):
        return loaded
    if split not in loaded:
        raise DataError(f"{source}: no split {split!r}; it has {', '.join(loaded)}")
    return loaded[split]


def _columns(rows: Dataset, source: str) -> Dataset:
    """The columns that count, checked: texts as strings, nothing missing."""
    if len(rows) == 0:
        raise DataError(f"{source}: holds no examples")
    for name in ("text", "label"):
        if name not in rows.column_names:
            raise DataError(f"{source}: no column {name!r}; it has {', '.join(rows.column_names)}")
    texts = [name for name in ("text", "text_pair") if name in rows.column_names]
    rows = rows.select_columns([*texts, "label"])
    for name in rows.column_names:
        blank = ("", None) if name == "label" else (None,)  # one blank would make classes of numbers
        if missing := sum(value in blank for value in rows[name][:]):
            raise DataError(f"{source}: {missing} rows have no {name}")
    return _with_strings(rows, texts)


def _with_strings(rows: Dataset, texts: list[str]) -> Dataset:
    """A column of digits is read as numbers: make text of it again."""
    for name in texts:
        if rows.features[name] != Value("string"):
            rows = rows.cast_column(name, Value("string"))
    return rows


def _first_line(exc: BaseException) -> str:
    cause = exc.__cause__ or exc
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__
