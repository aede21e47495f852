"""The command line. Parse, import what the command needs, call, print.

The composition root of the four packages.

Errors that we raise on purpose end as one line and exit code 2; --verbose keeps their traceback. Nothing
heavy is imported before a command runs, so that --help answers at once.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coldfusion import __version__
from coldfusion.errors import ColdFusionError, ConfigError
from contributors.evaluatecli import evaluate
from contributors.fusecli import fuse
from experiments.benchcli import bench
from hub_sync.cli import serve, users

if TYPE_CHECKING:
    from contributors.tracking import Tracker
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

Repo = Annotated[str, typer.Argument(help="org/name on the Hub, or the path of a local store.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")]
Trackio = Annotated[bool, typer.Option("--trackio", help="Log the same numbers to trackio's dashboard.")]
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
    overrides: Overrides = None,
    fresh: Fresh = False,
    trackio: Trackio = False,
) -> None:
    """A whole federation from one config, on Ray. The same command goes on after an interruption."""
    from coldfusion.config import load
    from experiments.config import SimulationConfig

    settings = load(SimulationConfig, config, overrides or [])  # before anything slow: it may be wrong
    _start_over(Path(settings.run), fresh)
    tracker = _tracker(settings.directory / "trackio") if trackio else None
    from experiments import simulation

    _show(simulation.simulate(settings, _progress(settings.rounds), tracker=tracker))
    _say_tracker(tracker)


@app.command()
def init(
    repo: Repo,
    base: Annotated[str, typer.Option(help="Model that the federation starts from: a directory or a name.")],
    overrides: Overrides = None,
    base_name: Annotated[
        str | None, typer.Option(help="What the Hub calls that model, where --base is a directory: org/name.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Create the repo as a private one.")] = False,
) -> None:
    """Make a federation: publish round 0 and its policy.

    key=value sets a knob of federation.yaml: quorum=5, fuser=ties fuser_options.density=0.2.
    """
    from coldfusion.config import Policy, load
    from coldfusion.federation import POLICY
    from contributors.founding import found_federation
    from hub_sync.address import Remote, open_hub

    policy = load(Policy, None, overrides or [])
    hub = open_hub(repo, create=True, remote=Remote(private=private))
    head = found_federation(hub, base, policy, name=base_name)
    print(f"{hub.address}: round 0 is published at {head}")
    print(f"policy: {POLICY} there; every knob has its comment")


@app.command()
def join(
    repo: Repo,
    data: Annotated[str, typer.Option(help="csv, tsv, jsonl, parquet, saved Dataset, or name on the Hub.")],
    overrides: Overrides = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on with every new round.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Submit without asking.")] = False,
) -> None:
    """Contribute: pull, fine-tune, check, show what would leave, ask, submit.

    key=value sets how: training.lr=1e-4, name=me--reviews, outbox=DIR, poll=30 (contributors/config.py).
    """
    from coldfusion.config import load
    from contributors.config import JoinConfig

    settings = load(JoinConfig, None, overrides or [])
    from contributors.joining import join as run

    run(repo, data, settings, watch=watch, consent=_consent(yes), say=_say)


@app.command()
def coordinate(
    repo: Repo,
    overrides: Overrides = None,
    watch: Annotated[bool, typer.Option("--watch", help="Run every round as it fills, for ever.")] = False,
    trackio: Trackio = False,
) -> None:
    """Run the open round when it is due: its quorum is there, or its deadline has passed.

    key=value sets how: tasks=DIR scores every base on held-out tasks, poll=30 (contributors/config.py).
    """
    from coldfusion.config import load
    from contributors.config import CoordinateConfig

    settings = load(CoordinateConfig, None, overrides or [])
    tracker = _tracker() if trackio else None
    _say_tracker(tracker)
    from contributors.coordinating import coordinate as run

    run(repo, settings, watch=watch, say=_say, tracker=tracker)


@app.command()
def status(
    repo: Repo,
    html: Annotated[Path | None, typer.Option(help="Write it all as one page to this file.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(help="With --watch: seconds between two looks.")] = 30.0,
    trackio: Trackio = False,
) -> None:
    """Rounds, contributions, verdicts with reasons, scores, and what the federation waits for."""
    tracker = _tracker() if trackio else None
    from rich.console import Console

    from coldfusion.overview import Overview, read_overview, show
    from hub_sync.address import open_hub

    if not every > 0:
        raise ConfigError(f"--every {every} is not above 0")
    hub = open_hub(repo)

    def keep(overview: Overview) -> None:
        if html is not None:
            from experiments.page.contents import page_of
            from experiments.page.rendering import write_page

            write_page(page_of(hub, overview), html)
        if tracker is not None:
            tracker.log(hub, overview.records)

    if watch:
        from coldfusion.liveview import LiveView

        with suppress(KeyboardInterrupt):
            LiveView(hub=hub, console=Console(), every=every, on_change=keep).run()
    else:
        overview = read_overview(hub)
        keep(overview)
        if html is not None:
            print(f"report: {html}")
        else:
            show(overview, Console())
    _say_tracker(tracker)


app.command()(fuse)
app.command()(evaluate)
app.command()(serve)
app.add_typer(users, name="users", no_args_is_help=True)
app.add_typer(bench, name="bench", no_args_is_help=True)


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


def _say(line: str) -> None:
    print(line, flush=True)


def _tracker(folder: Path | None = None) -> Tracker:
    """Opened before anything slow: trackio may not be installed."""
    from contributors.tracking import open_tracker

    return open_tracker(folder)


def _say_tracker(tracker: Tracker | None) -> None:
    if tracker is not None:
        _say(str(tracker))


def _consent(yes: bool) -> Callable[[str], bool]:
    """Show what would leave, and ask unless the answer is known."""

    def ask(text: str) -> bool:
        print(text, flush=True)
        return yes or typer.confirm("Submit it?")

    return ask


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
