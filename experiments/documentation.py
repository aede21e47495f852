"""Labelled tasks from text that every machine has: the documentation inside the Python installation.

A passage is a paragraph of a docstring or of a comment in the standard library; its label is the area
that its module belongs to (network, files, numbers, ...). Every contributor has passages of its own from
four areas. The held-out tasks ask for other combinations of areas, over modules that no contributor has.
"""

from __future__ import annotations

import ast
import csv
import itertools
import re
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coldfusion.errors import DataError
from coldfusion.seeds import seed_for

AREAS: Mapping[str, str] = {
    "network": "email smtplib imaplib poplib mailbox http urllib wsgiref xmlrpc socketserver ssl socket "
    "ftplib webbrowser nntplib telnetlib uuid ipaddress cgi smtpd",
    "files": "shutil pathlib tempfile tarfile zipfile gzip bz2 lzma fileinput os glob fnmatch dbm shelve "
    "zipimport _pyio ntpath posixpath filecmp mimetypes",
    "numbers": "_pydecimal statistics fractions random datetime calendar numbers colorsys heapq _strptime "
    "zoneinfo _pydatetime _pylong",
    "concurrency": "asyncio threading multiprocessing concurrent subprocess queue sched selectors signal",
    "text": "difflib re textwrap argparse optparse configparser getopt gettext string codecs encodings "
    "locale html json xml csv stringprep shlex pydoc",
    "desktop": "tkinter turtle idlelib turtledemo curses cmd rlcompleter",
    "language": "inspect ast typing enum dataclasses importlib dis types symtable tokenize pickle copy abc "
    "functools collections contextlib weakref traceback warnings pkgutil runpy pickletools modulefinder",
    "testing": "unittest doctest pdb bdb trace timeit profile cProfile pstats tracemalloc logging",
}
AREAS_PER_TASK = 4
HELD_OUT_EVERY = 3  # one module in so many is kept for the held-out tasks
MOST_OF_A_MODULE = 350  # passages; more of one module would make its area too easy
TEST_SHARE = 0.35
HELD_OUT = "held-out-"
"""How the name of a held-out task begins."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A paragraph of the documentation and the top-level module that it is from."""

    module: str
    text: str


def read_passages() -> list[Passage]:
    """Every paragraph in the standard library that reads like prose, each text once.

    Raises DataError where the library's sources are not there to be read.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    skipped = {"site-packages", "dist-packages", "test", "tests", "idle_test"}
    found: dict[str, str] = {}  # text -> the module that has it first
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if not skipped.intersection(parts):
            for text in _prose(path):
                found.setdefault(text, parts[0].removesuffix(".py"))
    if len(found) < 5000:
        raise DataError(
            f"{root}: the demo reads the standard library's sources; this Python came without them"
        )
    return [Passage(module, text) for text, module in found.items()]


def write_tasks(
    folder: Path, passages: Sequence[Passage], *, contributed: int, held_out: int, seed: int
) -> None:
    """Write so many tasks as NAME/train.csv and NAME/test.csv; a held-out one's name says so.

    No passage is in two tasks, and no module is in a contributed and in a held-out one.
    """
    combinations = list(itertools.combinations(sorted(AREAS), AREAS_PER_TASK))
    np.random.default_rng(seed_for(seed, "areas")).shuffle(combinations)
    for prefix, tasks in (
        ("", combinations[:contributed]),
        (HELD_OUT, combinations[contributed:][:held_out]),
    ):
        pools = {area: _pool(area, passages, prefix == HELD_OUT, seed) for area in AREAS}
        for areas, rows in zip(tasks, _deal(pools, tasks), strict=True):
            _write_task(folder / (prefix + "-".join(areas)), rows, seed)


def _prose(path: Path) -> Iterator[str]:
    """The paragraphs of a file's docstrings and comments that are long enough and mostly words."""
    try:
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
    except (SyntaxError, UnicodeDecodeError):  # some files of the library are wrong on purpose
        return
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, documented)]
    comments = re.findall(r"(?:^[ \t]*# .*\n)+", source, flags=re.MULTILINE)
    for text in [*docstrings, *(re.sub(r"^[ \t]*# ", "", c, flags=re.MULTILINE) for c in comments)]:
        for paragraph in re.split(r"\n\s*\n", text):
            passage = " ".join(paragraph.split())
            words = len(passage.split())
            letters = sum(c.isalpha() or c == " " for c in passage)
            if words >= 6 and len(passage) < 400 and letters > 0.8 * len(passage) and ">>>" not in passage:
                yield passage


def _pool(area: str, passages: Sequence[Passage], is_held_out: bool, seed: int) -> list[str]:
    """An area's passages from its held-out modules, or from the others, shuffled."""
    by_module: dict[str, list[str]] = {}
    for passage in passages:
        by_module.setdefault(passage.module, []).append(passage.text)
    modules = sorted(module for module in AREAS[area].split() if module in by_module)
    kept = [m for i, m in enumerate(modules) if (i % HELD_OUT_EVERY == 1) == is_held_out]
    pool = [text for module in kept for text in by_module[module][:MOST_OF_A_MODULE]]
    np.random.default_rng(seed_for(seed, "pool", area)).shuffle(pool)
    return pool


def _deal(
    pools: Mapping[str, Sequence[str]], tasks: Sequence[Sequence[str]]
) -> Iterator[list[tuple[str, str]]]:
    """The (text, area) rows of each task: an area's passages go round the tasks that have it, like cards."""
    users = {area: [i for i, areas in enumerate(tasks) if area in areas] for area in pools}
    for i, areas in enumerate(tasks):
        yield [
            (text, area) for area in areas for text in pools[area][users[area].index(i) :: len(users[area])]
        ]


def _write_task(folder: Path, rows: Sequence[tuple[str, str]], seed: int) -> None:
    folder.mkdir(parents=True)
    shuffled = list(rows)
    np.random.default_rng(seed_for(seed, folder.name)).shuffle(shuffled)
    cut = round(TEST_SHARE * len(shuffled))
    for split, part in (("test", shuffled[:cut]), ("train", shuffled[cut:])):
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "label"), *part])
