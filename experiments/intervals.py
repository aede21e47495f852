"""`coldfusion bench intervals`: is a 95 % interval honest when there is nothing to find?

A base is compared with itself: two probes on the same features, each fitted to a sample of its own of a
task's training split, and their predictions on the test split. Whatever differs between them is noise of
samples, so an honest interval excludes zero in 5 of 100 comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from coldfusion.scores import Outcome, gain_of
from coldfusion.seeds import seed_for
from contributors.config import ProbeConfig
from contributors.data import Examples, load_task
from contributors.models import load_body, load_tokenizer
from contributors.probing import features, fit_head
from contributors.scoring import PROBE, ScoreJob, predictions_on
from contributors.tasks import Task

FITS = 8
"""Probes of every task, of which two are compared at a time."""
SHOTS = 500
"""Training examples of each."""


@dataclass(frozen=True, slots=True)
class Honesty:
    """How often an interval excluded zero where nothing was to be found."""

    runs: int
    tasks_per_run: int
    excluded: int
    mean_width: float  # of the intervals, points

    @property
    def share(self) -> float:
        return self.excluded / self.runs


def self_comparisons(
    fits: Mapping[str, Sequence[Outcome]], *, runs: int, tasks_per_run: int, seed: int
) -> Honesty:
    """Compare a base with itself so often, on so many tasks: they and the pairs of probes drawn anew."""
    rng, names = np.random.default_rng(seed), sorted(fits)
    excluded, widths = 0, []
    for run in range(runs):
        after, before = [], []
        for name in rng.choice(names, tasks_per_run, replace=False):
            pairs = list(combinations(fits[name], 2))
            one, two = pairs[rng.integers(len(pairs))]
            if rng.random() < 0.5:
                one, two = two, one
            after.append(_with_seed(one, run))
            before.append(_with_seed(two, run))
        gain = gain_of(after, before, against="itself")
        assert gain is not None
        excluded += gain.excludes_zero
        widths.append(gain.high - gain.low)
    return Honesty(runs, tasks_per_run, excluded, float(np.mean(widths)))


def fit_probes(base: Path, tasks: Sequence[Task], tell: Callable[[str], None]) -> dict[str, list[Outcome]]:
    """Task -> the outcomes of FITS probes on the base, each fitted to its own sample."""
    body, tokenizer, config = load_body(base), load_tokenizer(base), ProbeConfig()
    found: dict[str, list[Outcome]] = {}
    for task in tasks:
        train, test = load_task(task.train, task.test)
        known, unseen = (features(body, tokenizer, split, config) for split in (train, test))
        found[task.name] = []
        for k in range(FITS):
            seed = seed_for("intervals", task.name, k)
            chosen = np.random.default_rng(seed).permutation(len(train.rows))[:SHOTS]
            sample = Examples(train.rows.select(chosen), train.num_labels)
            probe = fit_head(known[chosen], sample, folds=config.folds, seed=seed)
            made = predictions_on(test, probe.logits(unseen), train.scale)
            job = ScoreJob(task=task, protocol=PROBE, seed=k, settings=config)
            found[task.name].append(made.outcome(job, task.metrics[0]))
        tell(f"{task.name}: {FITS} probes, {np.mean([o.score.score for o in found[task.name]]):.1f} points")
    return found


def _with_seed(outcome: Outcome, seed: int) -> Outcome:
    """Under another seed, by which two sides are paired."""
    return replace(outcome, seed=seed)
