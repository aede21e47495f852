"""The arguments of `coldfusion evaluate`. Imports nothing that is heavy before the command runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer


def evaluate(  # noqa: PLR0913 - one parameter per option
    bases: Annotated[list[str], typer.Argument(help="REPO, REPO@revision or checkpoint directories.")],
    tasks: Annotated[
        Path, typer.Option(help="Suite: a YAML file (contributors/suites.py), or a folder of tasks.")
    ],
    protocols: Annotated[
        list[str] | None,
        typer.Option("--protocol", help="probe, head, few-shot or fine-tune; else the suite's."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Over the suite: few_shot.lr=1e-4.")
    ] = None,
    by_task: Annotated[bool, typer.Option("--by-task", help="Show the score on every task too.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write everything that was found there.")] = None,
) -> None:
    """Score bases on held-out tasks, against the previous and the pretrained base, with intervals.

    Nothing that was scored before is scored again.
    """
    from rich.console import Console

    from contributors.suites import read_suite

    suite = read_suite(tasks, settings or [], protocols=protocols or [])
    from contributors import scoreboard
    from contributors.evaluating import compare

    with _scoring() as tell:
        found = list(compare(bases, suite, tell=tell))
    scoreboard.show(found, Console(), by_task=by_task)
    if json is not None:
        scoreboard.write_json(found, json)
        print(f"written to {json}")


@contextmanager
def _scoring() -> Iterator[Callable[[str, int, int], None]]:
    """A bar with an estimate where somebody looks on, plain lines elsewhere."""
    if not sys.stderr.isatty():
        yield lambda label, done, total: print(
            f"scored {label}, {done} of {total}", file=sys.stderr, flush=True
        )
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("scoring", total=None)

        def tell(label: str, done: int, total: int) -> None:
            bar.update(task, description=label, completed=done, total=total)

        yield tell
