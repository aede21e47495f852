"""What `coldfusion fuse` does between its arguments and its last line."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from coldfusion.engine.crews import Crew
from coldfusion.errors import ConfigError
from coldfusion.fusers import FUSERS
from coldfusion.offline.fusing import fuse_offline
from coldfusion.offline.inputs import OpenInput
from coldfusion.offline.recipes import Input, Recipe, read_recipe, weighted


def rules() -> str:
    """Every rule on a line, with its options and their defaults on the next."""
    lines = []
    for fuser in FUSERS.values():
        lines.append(f"{fuser.name:18} {fuser.summary}")
        if knobs := [f"{knob.name}={knob.default}" for knob in fields(fuser.options)]:
            lines.append(f"{'':18}   --set {' '.join(knobs)}")
    return "\n".join(lines)


def recipe_from(
    path: Path | None, base: str | None, inputs: Sequence[str], weights: Sequence[float], **others: Any
) -> Recipe:
    """The recipe that the command line says, or that its file holds. others: Recipe's fields by name.

    Raises ConfigError.
    """
    if path is not None:
        if base or inputs or weights or others.get("options"):
            raise ConfigError(f"{path} says what is fused: give either a recipe or --base, inputs and --set")
        return read_recipe(path)
    if not base:
        raise ConfigError("--base is missing: name the checkpoint that the inputs were finetuned from")
    return weighted(Recipe(base, tuple(Input(one) for one in inputs), **others), weights)


def run(recipe: Recipe, into: Path, *, crew: Crew, digests: bool, open_input: OpenInput) -> None:
    """Fuse, with a progress bar in a terminal, and say what was made and where."""
    started = time.perf_counter()
    with _progress(recipe) as on_elements:
        made = fuse_offline(
            recipe, into, crew=crew, digests=digests, on_elements=on_elements, open_input=open_input
        )
    seconds = time.perf_counter() - started
    size, rate = made.elements / 1e6, made.bytes_read / seconds / 1e9
    print(
        f"{made.directory}: {len(recipe.inputs)} inputs for {size:,.1f} M parameters fused by "
        f"{recipe.fuser} in {seconds:.1f} s ({rate:.1f} GB/s); from_pretrained opens it"
    )


@contextmanager
def _progress(recipe: Recipe) -> Iterator[Callable[[int, int], None]]:
    """A bar with a rate where somebody looks on; passes before the last one count as well."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn(recipe.fuser), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(recipe.fuser, total=None)

        def show(done: int, total: int) -> None:
            passes = -(-done // total) if total else 1
            bar.update(task, completed=4 * done, total=4 * total * passes)

        yield show
