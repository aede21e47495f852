"""The gate: a candidate that loses what the policy wants kept is not published.

It is judged against the current base on validation splits: nobody chooses by a test split. Where it fails,
every contribution is left out once to see which hurt; the round is fused again without the worst of these,
then without the two worst, and so on, until a candidate holds. It need not seem better than the base: to go
on leaving out until it does would be to leave out by chance. Where nothing holds, the base stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from coldfusion.errors import ConfigError, RoundError
from coldfusion.records import Contribution, Evaluation, Gain, Trial
from coldfusion.stepping import PlannedStep

PROBE = "probe"
"""The protocol by which candidates are judged: the one that is quick enough to be asked for often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A cohort, fused."""

    cohort: tuple[Contribution, ...]
    step: PlannedStep
    directory: Path  # a whole checkpoint
    outer: Path  # the outer optimiser's new state, if there is a file


class Maker(Protocol):
    """Makes candidates; one that was made stays until the next call of `fuse`."""

    def fuse(self, cohort: Sequence[Contribution]) -> Candidate:
        """The candidate of a cohort. ConfigError where the rule cannot work with it."""

    def without_each(self, candidate: Candidate) -> Iterator[tuple[Contribution, Path]]:
        """Every contribution of a candidate and the base without it, until the next one is asked for."""


Judge = Callable[[Path], Evaluation]
"""A checkpoint directory -> its scores on validation splits, and its gain on the "previous" base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """What came of a round's cohort at the gate."""

    candidate: Candidate | None  # None: the base stays what it is
    step: PlannedStep  # of the candidate, or of the whole cohort
    refused: dict[str, str]  # contributor -> why it was left out
    trials: tuple[Trial, ...]  # every candidate that was judged, in order


def promote(
    cohort: tuple[Contribution, ...], maker: Maker, judge: Judge | None, *, task_drop: float
) -> Promotion:
    """The first candidate that holds: of the whole cohort, else without those that hurt.

    judge None: everything holds. task_drop: points that a single task may lose.
    """
    whole = maker.fuse(cohort)
    gain = None if judge is None else _gain(judge(whole.directory))
    if judge is None or gain is None:
        return Promotion(candidate=whole, step=whole.step, refused={}, trials=())
    trials = [Trial(without=(), gain=gain, reasons=reasons_against(gain, task_drop))]
    if not trials[0].reasons:
        return Promotion(candidate=whole, step=whole.step, refused={}, trials=tuple(trials))
    refused: dict[str, str] = {}
    for name, better in _by_harm(whole, maker, judge, gain):
        refused[name] = f"the gate: without it the candidate's validation score is {better:+.2f} points"
        left = maker.fuse([c for c in cohort if c.manifest.contributor not in refused])
        gain = _needed(judge(left.directory))
        reasons = reasons_against(gain, task_drop)
        trials.append(Trial(without=tuple(refused), gain=gain, reasons=reasons))
        if not reasons:
            return Promotion(candidate=left, step=left.step, refused=refused, trials=tuple(trials))
    reason = f"the gate: no candidate of this round holds; {trials[0].reasons[0]}"
    refused = {c.manifest.contributor: refused.get(c.manifest.contributor, reason) for c in cohort}
    return Promotion(candidate=None, step=whole.step, refused=refused, trials=tuple(trials))


def reasons_against(gain: Gain, task_drop: float) -> tuple[str, ...]:
    """Why a candidate with this gain on the current base is not published; none where it may be."""
    found = []
    if gain.high < 0:
        found.append(
            f"{gain.mean:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}] points on {gain.num_tasks} held-out tasks"
        )
    # Twenty small validation splits have one that is far down by chance.
    if gain.worst is not None and gain.worst_gain < -task_drop and gain.worst_high < 0:
        found.append(f"{gain.worst} loses {-gain.worst_gain:.2f} points, at most {task_drop:g} are allowed")
    return tuple(found)


def _by_harm(whole: Candidate, maker: Maker, judge: Judge, gain: Gain) -> list[tuple[str, float]]:
    """(contributor, points that the candidate is better without it), the most harmful first.

    Only of those that hurt, and never everybody. Nobody where the rule cannot work with one less.
    """
    if len(whole.cohort) == 1:
        return []
    try:
        found = [
            (one.manifest.contributor, _needed(judge(left)).mean - gain.mean)
            for one, left in maker.without_each(whole)
        ]
    except ConfigError:
        return []
    hurt = sorted((pair for pair in found if pair[1] > 0), key=lambda pair: (-pair[1], pair[0]))
    return hurt[: len(whole.cohort) - 1]


def _gain(evaluation: Evaluation) -> Gain | None:
    return evaluation.gain(PROBE, held_out=True, against="previous")


def _needed(evaluation: Evaluation) -> Gain:
    gain = _gain(evaluation)
    if gain is None:
        raise RoundError("a candidate was judged on held-out tasks before, and now is not: check the suite")
    return gain
