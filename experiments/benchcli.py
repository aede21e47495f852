"""`coldfusion bench NAME`: the arguments of the benchmarks. Imports nothing heavy before one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

bench = typer.Typer(help="What things cost on this machine, beside other tools: time, memory, ratios.")

Tasks = Annotated[Path, typer.Option(metavar="DIR", help="Folder of tasks: NAME/train.csv, NAME/test.csv.")]
Encoder = Annotated[Path, typer.Option(metavar="DIR", help="Checkpoint directory of an encoder.")]
Threads = Annotated[int, typer.Option(help="Of torch.", min=1)]


@bench.command()
def fuse(  # noqa: PLR0913 - one parameter per option
    parameters: Annotated[float, typer.Option(help="Of the model.", min=1)] = 125e6,
    contributions: Annotated[
        list[int] | None,
        typer.Option(help="How many; repeated: the first is compared with others' tools."),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    runs: Annotated[int, typer.Option(help="Medians of so many.", min=1)] = 3,
    fusers: Annotated[str, typer.Option(metavar="A,B,C", help="Which; else the usual ones.")] = "",
    mergekit: Annotated[Path | None, typer.Option(metavar="PYTHON", help="One that has mergekit.")] = None,
    flower: Annotated[Path | None, typer.Option(metavar="PYTHON", help="One that has flwr.")] = None,
    room: Annotated[Path | None, typer.Option(metavar="DIR", help="Make the inputs there, once.")] = None,
) -> None:
    """Checkpoints into one, beside mergekit, Flower and loops written by hand."""
    from rich.console import Console

    from experiments.bench_fuse import USUAL, Bench, bench_fuse

    settings = Bench(
        parameters=int(parameters),
        contributions=contributions or [8, 32],
        dtype=dtype,
        runs=runs,
        fusers=fusers.split(",") if fusers else USUAL,
        mergekit=mergekit,
        flower=flower,
        room=room,
    )
    for table in bench_fuse(settings):
        Console().print(table)


@bench.command()
def serve(
    megabytes: Annotated[int, typer.Option(help="Of the file.", min=1)] = 500,
) -> None:
    """A large file up to `coldfusion serve` and down again, beside a bare file server."""
    from rich.console import Console

    from experiments.bench_serve import bench_serve

    Console().print(bench_serve(megabytes))


@bench.command()
def probe(
    base: Encoder,
    tasks: Tasks,
    most: Annotated[int, typer.Option(help="Tasks, the first by name.", min=1)] = 20,
    threads: Threads = 2,
) -> None:
    """A probe by cached features, beside training the head for 10 epochs with the body frozen."""
    from rich.console import Console

    from experiments.bench_probe import bench_probe, table_of

    pairs = []
    for pair in bench_probe(base, tasks, most, threads):
        pairs.append(pair)
        print(
            f"{pair.task.name}: probe {pair.probe_seconds:.1f} s, {pair.probe_score:.2f} points; "
            f"head {pair.head_seconds:.1f} s, {pair.head_score:.2f} points",
            flush=True,
        )
    Console().print(table_of(pairs, base, threads))


@bench.command()
def intervals(
    base: Encoder,
    tasks: Tasks,
    runs: Annotated[int, typer.Option(help="Comparisons of the base with itself.", min=1)] = 200,
    per_run: Annotated[list[int] | None, typer.Option(help="Tasks in each; repeated for several.")] = None,
    threads: Threads = 2,
) -> None:
    """How often a 95 % interval excludes zero where a base is compared with itself: 5 in 100, if honest."""
    from contributors.devices import limit_threads
    from contributors.taskfolder import read_tasks
    from experiments.intervals import fit_probes, self_comparisons

    limit_threads(threads)
    fits = fit_probes(base, read_tasks(tasks), lambda line: print(line, flush=True))
    for count in per_run or [5, 12, 20]:
        found = self_comparisons(fits, runs=runs, tasks_per_run=min(count, len(fits)), seed=0)
        width = f"mean width {found.mean_width:.2f} points"
        print(
            f"{found.tasks_per_run} tasks: zero excluded in {found.excluded} of {found.runs} comparisons "
            f"({found.share:.1%}), {width}",
            flush=True,
        )


@bench.command()
def attribution(
    base: Encoder,
    tasks: Tasks,
    seeds: Annotated[int, typer.Option(help="Federations: seeds from 0.", min=1)] = 10,
) -> None:
    """Is a contribution with shuffled labels told apart from a good one, by what they are worth?"""
    from rich.console import Console

    from contributors.config import PoolConfig
    from contributors.pool import open_pool
    from contributors.taskfolder import read_tasks
    from experiments.bench_attribution import bench_attribution, table_of

    told = []
    with open_pool(PoolConfig()) as pool:
        for one in bench_attribution(base, read_tasks(tasks), range(seeds), pool):
            told.append(one)
            print(
                f"seed {one.seed}, {one.twins}: told apart by leaving one out: {one.by_leaving_out}, "
                f"by the estimate: {one.by_estimate}",
                flush=True,
            )
    Console().print(table_of(told, base))


@bench.command()
def hygiene(
    tasks: Tasks,
    held_out: Annotated[str, typer.Option(metavar="A,B,C", help="Tasks that are held out.")],
    others: Annotated[str, typer.Option(metavar="A,B,C", help="Contributed tasks; else all others.")] = "",
    show: Annotated[int, typer.Option(help="Texts of each task that were found nearly the same.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the edits.")] = 0,
) -> None:
    """Whom the check for held-out texts accuses among other tasks, and what it finds of edited ones."""
    from rich.console import Console

    from experiments.bench_hygiene import Bench, table_of_edits, table_of_others

    bench, found = Bench(tasks, held_out.split(",")), []
    for checked in bench.others(others.split(",") if others else []):
        found.append(checked)
        nearly = (checked.like & ~checked.same).nonzero()[0]
        for index in nearly[:show]:
            print(f"{checked.name}: {' | '.join(checked.texts[index])}", flush=True)
    Console().print(table_of_others(bench, found))
    Console().print(table_of_edits(bench, seed))
