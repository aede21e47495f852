"""Held-out tasks are not contributed to: told by name and by the texts, on the contributor's own machine.

A coordinator makes the hashes of its suite's texts (`hold_out`); a contributor sifts its data by them before
it trains (`sift`). Texts that are held-out ones or nearly so are left out; with more than a few of them the
data is taken for a held-out task and refused. How hashes are published and what they give away is said in
coldfusion/heldout.py, when two texts are alike in contributors/likeness.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from coldfusion.errors import DataError
from coldfusion.heldout import Hashes, HeldOut, Terms
from contributors.data import Examples, Split, is_on_hub, load_task
from contributors.likeness import Likeness, likeness, name_hash
from contributors.tasks import Task

REFUSED = 0.1
"""Share of a data set's texts; with more held-out ones it is refused."""

MOST_HASHES = 1 << 20
"""In a federation's file (8 MiB). With more, every second text is published, or every fourth, and so on."""

_SPLITS = {"train", "training", "test", "validation", "valid", "dev", "data"}
"""Files that are called so are named by their folder."""


@dataclass(frozen=True, slots=True)
class Sifted:
    """Data without the texts that are held out."""

    examples: Examples
    line: str  # what was found, for its owner's eyes only


def hold_out(tasks: Sequence[Task], salt: bytes, *, most: int = MOST_HASHES) -> HeldOut:
    """The hashes of all texts of these tasks: whole data, not the part that scores are taken on.

    salt: 16 bytes. The same tasks and salt give the same hashes, whatever the order. Raises DataError.
    """
    texts = [text for task in tasks for split in _whole_splits(task) for text in split.texts]
    found = likeness(texts, salt)
    thin, (wholes, pieces) = _thinned(found, most)
    terms = Terms(
        tasks=tuple(sorted(task.name for task in tasks)),
        sources=published_sources(tasks, salt),
        num_texts=len(texts),
        thin=thin,
        salt=salt.hex(),
    )
    return HeldOut(terms, wholes, pieces)


def sift(data: str, examples: Examples, held_out: HeldOut) -> Sifted:
    """The examples without those whose texts are held out. Raises DataError where these are too many.

    data: what the examples were read from.
    """
    found = likeness(examples.texts, held_out.salt).like(held_out.wholes, held_out.pieces)
    count, total, thin = int(found.sum()), len(found), held_out.terms.thin
    line = f"{count:,} of {total:,} texts are held-out texts or nearly so"
    if thin > 1:
        line += f" (told by one in {thin} of the held-out texts)"
    if count * thin > REFUSED * total:
        raise DataError(
            f"{data}: {line}, more than {REFUSED:.0%}: nobody contributes a held-out task; bring other data"
        )
    kept = Examples(examples.rows.select(np.flatnonzero(~found)), examples.num_labels) if count else examples
    return Sifted(kept, f"{line}: left out" if count else line)


def refuse_name(data: str, held_out: HeldOut) -> None:
    """Raise DataError where data is called like a held-out task, or is the data set that one comes from."""
    tasks = {name.casefold() for name in held_out.terms.tasks}
    if (is_on_hub(data) and name_hash(data, held_out.salt) in held_out.terms.sources) or (
        any(name.casefold() in tasks for name in _names(data))
    ):
        raise DataError(
            f"{data}: this federation holds out a task of that name, which nobody contributes; "
            "bring other data, or give it another name if it is other data"
        )


def published_sources(tasks: Sequence[Task], salt: bytes) -> tuple[str, ...]:
    """Hashes of the names of their data sets on the Hub: they may be private. Paths are nobody's business."""
    names = {split.source for task in tasks for split in (task.train, task.test)}
    return tuple(sorted(name_hash(name, salt) for name in names if is_on_hub(name)))


def _names(data: str) -> list[str]:
    """What a data set is called: a file, a folder, or on the Hub by its own name and its configuration's."""
    if is_on_hub(data):
        repo, _, config = data.partition(":")
        return [repo.split("/")[-1], config]
    path = Path(data).absolute()
    if path.is_dir():
        return [path.name]
    return [path.parent.name if path.stem.casefold() in _SPLITS else path.stem]


def _whole_splits(task: Task) -> Iterable[Examples]:
    def whole(split: Split) -> Split:
        return replace(split, most=None, part="")

    return load_task(whole(task.train), whole(task.test))


def _thinned(found: Likeness, most: int) -> tuple[int, tuple[Hashes, Hashes]]:
    """(1 / the share of texts that fits, their hashes)."""
    thin = 1
    while sum(map(len, hashes := found.thinned(thin))) > most:
        thin *= 2
    return thin, hashes
