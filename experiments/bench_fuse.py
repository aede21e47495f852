"""`coldfusion bench fuse`: what fusing costs here, beside mergekit, Flower and loops written by hand.

Whole processes, from checkpoints on the disk with a warm page cache to a checkpoint on the disk. Only
Flower's aggregators, which have no files, are also timed by themselves, on arrays that are in memory already.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.table import Table

from coldfusion.errors import ConfigError
from coldfusion.fusers import FUSERS
from coldfusion.native import kernels
from experiments import bench_commands as commands
from experiments.bench_inputs import DISTINCT, DTYPES, Inputs, make_inputs
from experiments.processes import LONG, Measured, run_in_turns
from experiments.report import machine, versions

USUAL = (
    *("mean", "task_arithmetic", "model_stock", "dare_linear", "dare_ties", "ties"),
    *("median", "trimmed_mean", "krum", "multi_krum"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What is measured. Raises ConfigError for what cannot be."""

    parameters: int = 125_000_000
    contributions: Sequence[int] = (8, 32)  # the first is compared with the others' tools
    dtype: str = "float32"
    runs: int = 3
    fusers: Sequence[str] = USUAL
    mergekit: Path | None = None  # a Python interpreter that has it
    flower: Path | None = None
    room: Path | None = None  # where the inputs are made and stay; deleted afterwards where None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigError(f"no dtype {self.dtype!r}; known: {', '.join(DTYPES)}")
        if odd := [name for name in self.fusers if name not in FUSERS]:
            raise ConfigError(f"unknown fuser {odd[0]!r}; known: {', '.join(FUSERS)}")
        if not self.fusers or not self.contributions or min(self.contributions) < 3 or self.runs < 1:
            raise ConfigError("at least 1 run of 1 fuser and 3 contributions is measured")
        for python in (self.mergekit, self.flower):
            if python and not python.is_file():
                raise ConfigError(f"there is no Python interpreter {python}")


def bench_fuse(bench: Bench) -> Iterator[Table]:
    """The tables, each as soon as it is measured."""
    with ExitStack() as stack:
        room = bench.room or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        inputs = make_inputs(room, bench.parameters, max(bench.contributions), bench.dtype)
        yield beside_mergekit(bench, inputs)
        if bench.flower and any(name in commands.FLOWER for name in bench.fusers):
            yield beside_flower(bench, bench.flower, inputs)
        if len(bench.contributions) > 1:
            yield by_count(bench, inputs)


def beside_mergekit(bench: Bench, inputs: Inputs) -> Table:
    """Every fuser, mergekit's method for it, and the mean by hand."""
    count, first = bench.contributions[0], bench.fusers[0]
    ours = {name: Measured(commands.ours(inputs, count, name)) for name in bench.fusers}
    digested = f"{first}, with digests"
    ours[digested] = Measured(commands.ours(inputs, count, first, "--digests"))
    by_hand = {f"mean: {title}": Measured(made) for title, made in commands.by_hand(inputs, count).items()}
    theirs: dict[str, Measured] = {}
    if python := bench.mergekit:
        found = [name for name in bench.fusers if name in commands.MERGEKIT]
        theirs = {name: Measured(commands.mergekits(python, inputs, count, name)) for name in found}
    everything = [*ours.values(), *by_hand.values(), *theirs.values()]
    _run(bench, inputs, everything, bench.runs)

    read = (count + 1) * inputs.megabytes / 1e3
    millions = f"{inputs.parameters / 1e6:,.0f} M parameters"
    table = _table(
        f"{count} contributions and a base of {millions}, {inputs.dtype}: {read:.2f} GB",
        ["", "s", "GB/s", "CPU\ns", "peak\nMB", "mergekit\ns", "peak\nMB", "ratio"],
    )
    for name, row in (ours | by_hand).items():
        beside = theirs.get(first if name == digested else name.partition(":")[0])
        numbers = [f"{row.seconds:.2f}", f"{read / row.seconds:.2f}", f"{row.cpu_seconds:.2f}"]
        table.add_row(name, *numbers, f"{row.peak_mb:,.0f}", *_compared(row, beside))
    table.caption = _caption(bench, everything)
    return table


def beside_flower(bench: Bench, python: Path, inputs: Inputs) -> Table:
    """Robust fusers from files to a file, beside Flower's functions from arrays to arrays."""
    count, names = bench.contributions[0], [name for name in bench.fusers if name in commands.FLOWER]
    ours = {name: Measured(commands.ours(inputs, count, name)) for name in names}
    theirs = {name: Measured(commands.flowers(python, inputs, count, name)) for name in names}
    everything = [*ours.values(), *theirs.values()]
    _run(bench, inputs, everything, bench.runs)

    mib = count * inputs.megabytes * 1e6 / 2**20
    ours_have, theirs_have = (
        ("ours\ns", "ours\nMiB/s", "ours\nMB"),
        ("alone\ns", "alone\nMiB/s", "whole\ns", "whole\nMB"),
    )
    table = _table(
        f"{count} contributions of {mib / count:,.0f} MiB, {inputs.dtype}",
        ["", *ours_have, *theirs_have, "ratio"],
    )
    for name in names:
        own, other = ours[name], theirs[name]
        alone = median(float(json.loads(cost.output.splitlines()[-1])["aggregate"]) for cost in other.costs)
        table.add_row(
            name,
            *(f"{own.seconds:.2f}", f"{mib / own.seconds:,.0f}", f"{own.peak_mb:,.0f}"),
            *(f"{alone:.2f}", f"{mib / alone:,.0f}", f"{other.seconds:.2f}", f"{other.peak_mb:,.0f}"),
            f"{alone / own.seconds:.1f}",
        )
    meaning = "alone: Flower's function on arrays in memory; ratio: to our whole process, from files"
    table.caption = f"{meaning}; {_caption(bench, everything)}"
    return table


def by_count(bench: Bench, inputs: Inputs) -> Table:
    """Seconds and peak memory as contributions become more."""
    counts = bench.contributions
    rows = {name: [Measured(commands.ours(inputs, n, name)) for n in counts] for name in bench.fusers}
    everything = [measured for row in rows.values() for measured in row]
    _run(bench, inputs, everything, 1)
    titles = [f"{n}:\n{unit}" for n in counts for unit in ("s", "MB")]
    table = _table(f"by number of contributions, of which {DISTINCT} differ", ["", *titles])
    for name, row in rows.items():
        table.add_row(name, *(cell for m in row for cell in (f"{m.seconds:.2f}", f"{m.peak_mb:,.0f}")))
    table.caption = _caption(bench, everything)
    return table


def _run(bench: Bench, inputs: Inputs, everything: Sequence[Measured], runs: int) -> None:
    run_in_turns(everything, runs, inputs.room, commands.environment(), warm=inputs.warm)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    table.columns[0].justify = "left"
    return table


def _compared(row: Measured, theirs: Measured | None) -> tuple[str, ...]:
    if theirs is None:
        return ("", "", "")
    return (f"{theirs.seconds:.1f}", f"{theirs.peak_mb:,.0f}", f"{theirs.seconds / row.seconds:.1f}")


def _caption(bench: Bench, everything: Sequence[Measured]) -> str:
    """How often each ran, and on what."""
    runs = max(len(measured.costs) for measured in everything)
    once = (
        f", of 1 for what takes over {LONG:.0f} s" if any(m.is_long for m in everything) and runs > 1 else ""
    )
    packages: Mapping[str, Path | None] = {
        "mergekit": bench.mergekit,
        "torch": bench.mergekit,
        "flwr": bench.flower,
    }
    theirs = [f"{name} {_version(name, python)}" for name, python in packages.items() if python]
    ours = [f"{name} {versions()[name]}" for name in ("coldfusion", "numpy")]
    ours.append("C kernels" if kernels.library() else "no C kernels")
    load = f"load {os.getloadavg()[0]:.1f}"
    return "; ".join(
        [f"whole processes, medians of {runs}{once}", machine(), load, ", ".join([*ours, *theirs])]
    )


def _version(package: str, python: Path) -> str:
    ask = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()
