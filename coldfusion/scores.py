"""Is this base better? Scores paired per task and example, with a bootstrap interval.

A difference between two bases on a task is noisy because its test split is a sample of examples; the mean
over tasks also because the tasks are a sample of tasks, and training of seeds. Drawing tasks anew, and then
examples within them, would count the first noise twice: it is already in the tasks' differences. So what
differs between tasks is first shrunk to what examples do not explain (Davison and Hinkley 1997, section 3.8),
then both are drawn. With few tasks the interval is widened as Student's t is (Hesterberg 2015, "expanded
percentile").
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from coldfusion.dtypes import Float64
from coldfusion.metrics import Metric, metric_named
from coldfusion.records import Evaluation, Gain, TaskGain, TaskScore
from coldfusion.seeds import seed_for

RESAMPLES = 2000
LEVEL = 0.95
AT_ONCE = 1 << 22
"""Counts that are held at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one base made of the test split of one task, as one metric takes it."""

    task: str
    held_out: bool
    protocol: str
    seed: int
    metric: str
    truth: Float64  # (number of test examples,) the labels, as numbers
    predicted: Float64  # (the same,) what the metric takes: labels, values or losses

    @property
    def score(self) -> TaskScore:
        value = metric_named(self.metric).of(self.truth, self.predicted, np.ones((1, len(self.truth))))
        return TaskScore(
            task=self.task,
            held_out=self.held_out,
            protocol=self.protocol,
            seed=self.seed,
            metric=self.metric,
            score=round(float(value[0]), 4),
            num_examples=len(self.truth),
        )


@dataclass(frozen=True, slots=True)
class Paired:
    """A task that two bases were scored on with the same seeds. Examples alike in all of it are one."""

    task: str
    metric: Metric
    truth: Float64  # (u,)
    after: Float64  # (seeds, u)
    before: Float64  # (seeds, u)
    counts: Float64  # (u,) how many examples each stands for

    def differences(self, counts: Float64) -> Float64:
        """(r, u) counts of examples -> (r,): how much better `after` is, mean over the seeds."""
        each = [
            self.metric.of(self.truth, after, counts) - self.metric.of(self.truth, before, counts)
            for after, before in zip(self.after, self.before, strict=True)
        ]
        mean: Float64 = self.metric.sign * np.mean(each, axis=0)
        return mean

    @property
    def difference(self) -> float:
        """In the metric's unit; above 0 where `after` is better."""
        return float(self.differences(self.counts[None])[0])

    def resampled(self, times: int, rng: np.random.Generator) -> Float64:
        """(times,): the difference on so many test splits of which the examples are drawn from this one."""
        size, step = int(self.counts.sum()), max(AT_ONCE // len(self.counts), 1)
        parts = [
            self.differences(
                rng.multinomial(size, self.counts / size, size=min(step, times - start)).astype(np.float64)
            )
            for start in range(0, times, step)
        ]
        return np.concatenate([np.zeros(0), *parts])


def evaluation_of(outcomes: Sequence[Outcome], others: Mapping[str, Sequence[Outcome]]) -> Evaluation:
    """Scores, and the gain on each other base for every group of tasks that both were scored on.

    others: what a base is called in a Gain's `against`, "pretrained" for one -> its outcomes.
    """
    found = [
        gain_of([o for o in outcomes if _group(o) == group], before, against=against)
        for against, before in others.items()
        for group in sorted({_group(outcome) for outcome in outcomes})
    ]
    gains = tuple(gain for gain in found if gain is not None)
    scores, pretrained = (
        tuple(outcome.score for outcome in of) for of in (outcomes, others.get("pretrained", ()))
    )
    return Evaluation(scores=scores, gains=gains, pretrained=pretrained)


def gain_of(after: Sequence[Outcome], before: Sequence[Outcome], *, against: str) -> Gain | None:
    """The gain over the tasks of one group; None where the two share none."""
    tasks = paired(after, before)
    if not tasks:
        return None
    protocol, held_out, unit = _group(after[0])
    differences = {task.task: task.difference for task in tasks}
    low, high = interval(tasks, seed=seed_for("gain", against, protocol, held_out, unit))
    worst = min(tasks, key=lambda task: (task.difference, task.task))
    _, worst_high = interval([worst], seed=seed_for("worst", against, protocol, held_out, unit))
    return Gain(
        protocol=protocol,
        held_out=held_out,
        against=against,
        unit=unit,
        mean=round(math.fsum(differences.values()) / len(differences), 4),
        low=low,
        high=high,
        num_tasks=len(differences),
        num_worse=sum(difference < 0 for difference in differences.values()),
        worst=worst.task,
        worst_gain=round(worst.difference, 4),
        worst_high=worst_high,
    )


def task_gains(after: Sequence[Outcome], before: Sequence[Outcome]) -> tuple[TaskGain, ...]:
    """The gain on every task that both were scored on, by name, over its examples."""
    found = []
    for task in paired(after, before):
        low, high = interval([task], seed=seed_for("task gain", task.task))
        found.append(TaskGain(task=task.task, mean=round(task.difference, 4), low=low, high=high))
    return tuple(found)


def paired(after: Sequence[Outcome], before: Sequence[Outcome]) -> list[Paired]:
    """Every task, by name, with the seeds that both sides have. A task scored by two metrics is two."""
    start = {_key(outcome): outcome for outcome in before}
    together: dict[tuple[str, str], list[tuple[Outcome, Outcome]]] = {}
    for one in after:
        if (two := start.get(_key(one))) is not None:
            together.setdefault((one.task, one.metric), []).append((one, two))
    several = len({task for task, _ in together}) < len(together)
    return [
        _paired(f"{task} ({metric})" if several else task, metric_named(metric), pairs)
        for (task, metric), pairs in sorted(together.items())
    ]


def interval(tasks: Sequence[Paired], *, seed: int) -> tuple[float, float]:
    """(low, high) of the mean difference over tasks, every task weighing the same, at LEVEL."""
    rng, n = np.random.default_rng(seed), len(tasks)
    means = np.array([task.difference for task in tasks])
    drawn = rng.integers(n, size=(RESAMPLES, n))  # which task is in which slot of which resample
    noise, spread = np.empty((RESAMPLES, n)), np.empty(n)
    for i, task in enumerate(tasks):
        slots = drawn == i
        found = task.resampled(max(int(slots.sum()), 2), rng) - means[i]
        noise[slots], spread[i] = found[: int(slots.sum())], found.var()
    between = float(means.var(ddof=1)) if n > 1 else 0.0
    unexplained = max(0.0, 1 - float(spread.mean()) / between) if between > 0 else 0.0
    # Drawing from n tasks has (n - 1) / n of their variance.
    shrunk = means.mean() + math.sqrt(unexplained * n / max(n - 1, 1)) * (means - means.mean())
    tail = _tail(n - 1) if unexplained else (1 - LEVEL) / 2
    low, high = np.quantile((shrunk[drawn] + noise).mean(axis=1), [tail, 1 - tail])
    return round(float(low), 4), round(float(high), 4)


def _tail(freedom: int) -> float:
    """The share beyond Student's quantile with so many degrees of freedom, were it a normal one's."""
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    # The first terms of Student's quantile in 1 / freedom (Abramowitz and Stegun 1964, 26.7.5).
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return 1 - NormalDist().cdf(t)


def _paired(name: str, metric: Metric, pairs: Sequence[tuple[Outcome, Outcome]]) -> Paired:
    columns = [pairs[0][0].truth, *(one.predicted for one, _ in pairs), *(two.predicted for _, two in pairs)]
    table: NDArray[np.float64] = np.stack(columns).astype(np.float64)
    distinct, counts = np.unique(table, axis=1, return_counts=True)
    seeds = len(pairs)
    return Paired(
        task=name,
        metric=metric,
        truth=distinct[0],
        after=distinct[1 : 1 + seeds],
        before=distinct[1 + seeds :],
        counts=counts.astype(np.float64),
    )


def _group(outcome: Outcome) -> tuple[str, bool, str]:
    return outcome.protocol, outcome.held_out, metric_named(outcome.metric).unit


def _key(outcome: Outcome) -> tuple[str, str, str, int]:
    return outcome.task, outcome.metric, outcome.protocol, outcome.seed
