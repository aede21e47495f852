"""Is this base better? Scores paired per task and example, with a bootstrap interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coldfusion.dtypes import Float64
from coldfusion.records import Evaluation, Gain, TaskScore
from coldfusion.seeds import seed_for

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one base got right on the test split of one task."""

    task: str
    held_out: bool
    protocol: str
    seed: int
    correct: NDArray[np.bool_]  # (number of test examples,)

    @property
    def score(self) -> TaskScore:
        return TaskScore(
            task=self.task,
            held_out=self.held_out,
            protocol=self.protocol,
            seed=self.seed,
            score=round(100 * float(self.correct.mean()), 4),
            num_examples=len(self.correct),
        )


def evaluation_of(outcomes: Sequence[Outcome], pretrained: Sequence[Outcome]) -> Evaluation:
    """Scores, and the gain on the pretrained model for every group of tasks that both were scored on."""
    groups = sorted({(outcome.protocol, outcome.held_out) for outcome in outcomes})
    gains = []
    for protocol, held_out in groups:
        differences = paired_differences(
            [o for o in outcomes if (o.protocol, o.held_out) == (protocol, held_out)], pretrained
        )
        if differences:
            mean, low, high = bootstrap(list(differences.values()), seed=seed_for("gain", protocol, held_out))
            gains.append(
                Gain(
                    protocol=protocol,
                    held_out=held_out,
                    mean=mean,
                    low=low,
                    high=high,
                    num_tasks=len(differences),
                )
            )
    return Evaluation(scores=tuple(outcome.score for outcome in outcomes), gains=tuple(gains))


def paired_differences(after: Sequence[Outcome], before: Sequence[Outcome]) -> Mapping[str, Float64]:
    """task -> difference in points of each test example, (n,), averaged over the seeds that both have."""
    start = {(o.task, o.protocol, o.seed): o.correct for o in before}
    found: dict[str, list[Float64]] = {}
    for outcome in after:
        other = start.get((outcome.task, outcome.protocol, outcome.seed))
        if other is not None:
            difference = 100.0 * (outcome.correct.astype(np.float64) - other)
            found.setdefault(outcome.task, []).append(difference)
    return {task: np.mean(differences, axis=0) for task, differences in sorted(found.items())}


def bootstrap(differences: Sequence[Float64], *, seed: int) -> tuple[float, float, float]:
    """(mean over tasks of the mean difference, low, high): a percentile interval of LEVEL.

    Tasks are drawn with replacement, then examples within each drawn task (Efron and Tibshirani 1993), so
    that the interval speaks of tasks like these and not only of these. Every task weighs the same.
    """
    rng = np.random.default_rng(seed)
    n = len(differences)
    drawn = rng.integers(n, size=(RESAMPLES, n))  # which task is in which slot of which resample
    means = np.empty((RESAMPLES, n))
    for task, difference in enumerate(differences):
        slots = drawn == task
        values, counts = np.unique(difference, return_counts=True)
        size = len(difference)
        means[slots] = rng.multinomial(size, counts / size, size=int(slots.sum())) @ values / size
    low, high = np.quantile(means.mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    centre = float(np.mean([difference.mean() for difference in differences]))
    return round(centre, 4), round(float(low), 4), round(float(high), 4)
