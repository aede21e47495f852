"""What an `Evaluator` asks of a job: some scoring that any worker can do, and whose result is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from coldfusion.scores import Outcome
from contributors.reporting import Report

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Scored:
    """What came of a job, and when the base was at work for it (seconds since the epoch)."""

    kept: Arrays  # all that its outcomes are made of
    interval: tuple[float, float]
    num_examples: int


class Job(Protocol):
    """One or more scores of one base, to be computed."""

    @property
    def label(self) -> str:
        """What a person calls it."""

    @property
    def key(self) -> tuple[str, ...]:
        """Everything but the base that `Scored.kept` depends on."""

    def take(self, base: Path, report: Report) -> Scored:
        """Score the checkpoint directory `base`."""

    def outcomes(self, kept: Arrays) -> list[Outcome]:
        """What was kept, as each metric takes it."""


def take(base: Path, job: Job, report: Report) -> Scored:
    """The job's own `take`, as a pool wants it."""
    return job.take(base, report)
