"""`coldfusion bench hygiene`: whom the check for held-out texts accuses, and what of them it finds.

Some tasks of a folder are held out, the others are contributors' data. Each of these is sifted as `coldfusion
join` would; then the held-out tasks' own test texts are, with small changes to each, drawn by a seed.
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from contributors.data import load_task
from contributors.hygiene import hold_out
from contributors.likeness import LEAST, SHARE, Likeness, Text, among, likeness, words
from contributors.taskfolder import read_task, task_names
from contributors.tasks import Task
from experiments.report import machine, versions

SALT = bytes(16)
LENGTHS = ((1, 6), (7, 14), (15, 29), (30, 10**6))
"""Words of a text, from and to."""

Edit = Callable[[list[str], Random, Sequence[str]], list[str]]
"""(words of a text, chance, words that there are) -> the words after a small change."""


def _replaced(share: float) -> Edit:
    def edit(text: list[str], chance: Random, others: Sequence[str]) -> list[str]:
        places = set(chance.sample(range(len(text)), max(1, int(share * len(text)))))
        return [chance.choice(others) if i in places else word for i, word in enumerate(text)]

    return edit


def _swapped(text: list[str], chance: Random, others: Sequence[str]) -> list[str]:
    i = chance.randrange(max(1, len(text) - 1))
    return text[:i] + text[i : i + 2][::-1] + text[i + 2 :]


EDITS: dict[str, Edit] = {
    "case and punctuation": lambda text, chance, others: [f"{word.upper()}," for word in text],
    "one word replaced": _replaced(0.0),
    "every tenth replaced": _replaced(0.1),
    "two words swapped": _swapped,
    "four words in front": lambda text, chance, others: [*chance.choices(others, k=4), *text],
    "the last third cut": lambda text, chance, others: text[: max(1, len(text) * 2 // 3)],
}


@dataclass(frozen=True, slots=True)
class Checked:
    """A contributed task, sifted."""

    name: str
    texts: Sequence[Text]
    same: NDArray[np.bool_]  # (n,): which are held-out texts
    like: NDArray[np.bool_]  # (n,): these, and those that are nearly so
    # (n,): of which one held-out text alone has enough pieces; of the others, several together
    single: NDArray[np.bool_]


class Bench:
    """What is held out, and against it: the other tasks (`others`), the same texts again (`edited`)."""

    def __init__(self, folder: Path, held_out: Sequence[str]) -> None:
        self.folder = folder
        self.tasks = [read_task(folder, name, held_out=True) for name in held_out]
        self.held_out = hold_out(self.tasks, SALT)
        known = likeness([text for task in self.tasks for text in _texts(task)], SALT)
        self.holders: dict[int, list[int]] = defaultdict(list)  # piece -> the held-out texts that have it
        for piece, owner in zip(known.pieces.tolist(), known.owners.tolist(), strict=True):
            self.holders[piece].append(owner)
        self.seconds = 0.0  # of one core, for the check of the other tasks without reading them
        self.checked = 0  # texts

    def others(self, names: Sequence[str]) -> Iterator[Checked]:
        """Both splits of the tasks that are not held out: of these, or of all."""
        out = {task.name for task in self.tasks}
        for name in names or task_names(self.folder):
            if name not in out:
                texts = _texts(read_task(self.folder, name, held_out=False))
                started = time.process_time()
                found = likeness(texts, SALT)
                like = self._like(found)
                self.seconds += time.process_time() - started
                self.checked += len(texts)
                same = among(found.wholes, self.held_out.wholes)
                yield Checked(name, texts, same, like, self._of_one(found, like))

    def edited(self, edit: Edit, seed: int) -> list[float]:
        """The share of the held-out test texts that is found after an edit, for each of the `LENGTHS`."""
        texts = [text for task in self.tasks for text in load_task(task.train, task.test)[1].texts]
        counted = [[words(part) for part in text] for text in texts]
        vocabulary, chance = sorted({w for text in counted for part in text for w in part}), Random(seed)
        kept = [text for text in counted if all(text)]
        changed = []
        for text in kept:
            longest = max(text, key=len)  # of a pair; the other stays
            edited = [edit(part, chance, vocabulary) if part is longest else part for part in text]
            changed.append([" ".join(part) for part in edited])
        found = self._like(likeness(changed, SALT))
        lengths = np.array([sum(map(len, text)) for text in kept])
        parts = [found[(lengths >= low) & (lengths <= high)] for low, high in LENGTHS]
        return [float(part.mean()) if len(part) else math.nan for part in parts]

    def _of_one(self, found: Likeness, like: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(n,): the published hashes do not say which text a piece is of; here it is known."""
        single = np.zeros(len(like), dtype=np.bool_)
        for index in like.nonzero()[0]:
            pieces = found.pieces[found.owners == index].tolist()
            hits = Counter(holder for piece in pieces for holder in self.holders.get(piece, ()))
            most = max(hits.values(), default=0)
            single[index] = most >= LEAST and most >= SHARE * len(pieces)
        return single

    def _like(self, found: Likeness) -> NDArray[np.bool_]:
        return found.like(self.held_out.wholes, self.held_out.pieces)


def table_of_others(bench: Bench, found: Sequence[Checked]) -> Table:
    """A row for every task of which a text was found."""
    table = Table(title=f"texts of other tasks among {bench.held_out.terms.num_texts:,} held-out ones")
    table.add_column("task")
    for title in ("texts", "the same", "nearly one", "pieces of several", "share"):
        table.add_column(title, justify="right")
    rows = [*sorted(found, key=lambda c: -c.like.mean()), _together(found)]
    for c in rows:
        if c.like.any():
            nearly = c.like & ~c.same
            counts = (len(c.like), c.same.sum(), (nearly & c.single).sum(), (nearly & ~c.single).sum())
            table.add_row(c.name, *(f"{count:,}" for count in counts), f"{c.like.mean():.2%}")
    kib = (bench.held_out.wholes.nbytes + bench.held_out.pieces.nbytes) / 1024
    speed = f"{bench.checked:,} texts in {bench.seconds:.1f} s of one core, against {kib:,.0f} KiB of hashes"
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    table.caption = f"{speed}; {machine()}; {packages}"
    return table


def table_of_edits(bench: Bench, seed: int) -> Table:
    """A row for every edit: what is found of the held-out test texts after it."""
    table = Table(title="held-out test texts found after an edit of each text, by words")
    table.add_column("edit")
    for low, high in LENGTHS:
        table.add_column(f"{low} to {high}" if high < 10**6 else f"{low} and more", justify="right")
    for name, edit in EDITS.items():
        shares = bench.edited(edit, seed)
        table.add_row(name, *("-" if math.isnan(share) else f"{share:.1%}" for share in shares))
    return table


def _texts(task: Task) -> list[Text]:
    return [text for split in load_task(task.train, task.test) for text in split.texts]


def _together(found: Sequence[Checked]) -> Checked:
    texts = [text for c in found for text in c.texts]
    parts = (np.concatenate([getattr(c, name) for c in found]) for name in ("same", "like", "single"))
    return Checked("all", texts, *parts)
