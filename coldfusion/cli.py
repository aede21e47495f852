"""The command line. Parse, import what the command needs, call, print.

The composition root of the four packages.

Errors that we raise on purpose end as one line and exit code 2; --verbose keeps their traceback. Nothing
heavy is imported before a command runs, so that --help answers at once.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coldfusion import __version__
from coldfusion.errors import ColdFusionError, ConfigError
from hub_sync.cli import serve, users

if TYPE_CHECKING:
    from experiments.progress import RunProgress
    from experiments.report import Run

app = typer.Typer(
    help="Federated model recycling: fine-tune a shared base, fuse the deltas, repeat.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}
"""The libraries' own progress bars and hints would break ours."""

Fresh = Annotated[bool, typer.Option("--fresh", help="Delete what an earlier run left, and start over.")]


@app.callback(invoke_without_command=True)
def options(
    verbose: Annotated[bool, typer.Option("--verbose", help="Keep the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Federated model recycling: fine-tune a shared base, fuse the deltas, repeat."""
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def demo(
    run: Annotated[Path, typer.Option(help="Directory for everything that the demo makes.")] = Path(
        "runs/demo"
    ),
    seed: Annotated[int, typer.Option(help="Another seed: other tasks, another base, other batches.")] = 0,
    fresh: Fresh = False,
) -> None:
    """The whole loop on this machine: 10 contributors, 5 rounds, no network, under 3 minutes."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from experiments import demo as module

    _start_over(run, fresh)
    _show(module.demo(run, seed, _progress(module.ROUNDS)))


@app.command()
def simulate(
    config: Annotated[Path, typer.Argument(help="YAML file; see experiments/configs.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    fresh: Fresh = False,
) -> None:
    """A whole federation from one config, on Ray. The same command goes on after an interruption."""
    from coldfusion.config import load
    from experiments.config import SimulationConfig

    settings = load(SimulationConfig, config, overrides or [])  # before anything slow: it may be wrong
    _start_over(Path(settings.run), fresh)
    from experiments import simulation

    _show(simulation.simulate(settings, _progress(settings.rounds)))


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="fuse: fusing deltas. serve: a large file up and down.")],
    parameters: Annotated[int, typer.Option(help="fuse: of the model.")] = 125_000_000,
    contributions: Annotated[list[int] | None, typer.Option(help="fuse: how many; may be repeated.")] = None,
    codec: Annotated[str, typer.Option(help="fuse: of the deltas.")] = "exact",
    megabytes: Annotated[int, typer.Option(help="serve: of the file.", min=1)] = 500,
) -> None:
    """What things cost on this machine: time, memory, ratios."""
    from rich.console import Console

    if name == "fuse":
        from experiments.bench import bench_fuse

        Console().print(bench_fuse(parameters, contributions or [8, 16], codec))
    elif name == "serve":
        from experiments.bench_serve import bench_serve

        Console().print(bench_serve(megabytes))
    else:
        raise ConfigError(f"no benchmark {name!r}; known: fuse, serve")


app.command()(serve)
app.add_typer(users, name="users", no_args_is_help=True)


def main() -> None:
    """The console script."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        app()
    except ColdFusionError as exc:
        if "--verbose" in sys.argv:
            raise
        print(f"coldfusion: {' '.join(str(exc).split())}", file=sys.stderr)
        sys.exit(2)


def _start_over(run: Path, fresh: bool) -> None:
    if fresh and run.exists():
        if not (run / "config.yaml").exists() and not (run / "inputs").exists():
            raise ConfigError(
                f"{run} is not the directory of a run; --fresh would delete it, so delete it yourself"
            )
        shutil.rmtree(run)


def _progress(rounds: int) -> RunProgress:
    from rich.console import Console

    from experiments.progress import RunProgress

    return RunProgress(Console(), rounds)


def _show(run: Run) -> None:
    """The table at the end, and where everything is."""
    from rich.console import Console

    from experiments.tables import round_table, time_line

    console = Console()
    console.print(round_table(run))
    console.print(time_line(run), highlight=False, soft_wrap=True)
    console.print(f"base:   {run.base} (AutoModel.from_pretrained opens it)", highlight=False, soft_wrap=True)
    console.print(f"report: {run.report}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
