"""report.html: the page about a run of this machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from coldfusion.config import dump
from coldfusion.records import RoundRecord
from experiments.config import SimulationConfig
from experiments.page.contents import Page, Published, RunFacts
from experiments.page.rendering import write_page
from experiments.timing import Split, Timeline

PACKAGES = ("coldfusion", "torch", "transformers", "ray", "numpy", "scikit-learn", "safetensors")


@dataclass(frozen=True, slots=True)
class Run:
    """What a run has come to so far."""

    config: SimulationConfig
    room: Path
    records: tuple[RoundRecord, ...]  # from round 0
    timeline: Timeline
    published: Published = Published()

    @property
    def report(self) -> Path:
        return self.room / "report.html"

    @property
    def base(self) -> Path:
        """The newest base, as a checkpoint directory."""
        return self.room / "base"

    def splits(self) -> list[Split]:
        """Of the rounds that ran without interruption."""
        return list(splits_of(self).values())


def write_report(run: Run) -> Path:
    """Write the page of a run; the one from before stays until this one is whole."""
    return write_page(page_of_run(run), run.report)


def page_of_run(run: Run) -> Page:
    """The page of a run: that of its federation, with what is known of a run alone."""
    config = run.config
    return Page(
        title=config.name,
        address=str(run.room / "store"),
        records=run.records,
        published=run.published,
        policy=config.policy.spelt_out(),
        run=RunFacts(
            rounds=config.rounds,
            seed=config.seed,
            start=config.base,
            config=dump(config),
            base=run.base,
            splits=splits_of(run),
            machine=machine(),
            versions=versions(),
        ),
    )


def splits_of(run: Run) -> dict[int, Split]:
    """By round, of those that ran without interruption."""
    found = ((record.round_index, run.timeline.split(record.round_index)) for record in run.records)
    return {index: split for index, split in found if split is not None}


def versions() -> dict[str, str]:
    """Of the packages that the numbers hang on."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def machine() -> str:
    """What the run ran on."""
    system = f"{platform.system()} {platform.machine()}"
    return f"{os.cpu_count()} cores, {system}, Python {platform.python_version()}"
