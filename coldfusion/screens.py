"""Tests of the deltas themselves: a screen answers with a reason to refuse, or with None."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from coldfusion.exact.sums import LIMIT
from coldfusion.records import Contribution, Verdict
from coldfusion.rounds import verdict_on
from coldfusion.stats import RoundStats

Screen = Callable[[int, RoundStats], str | None]
"""(position of the contribution, the round's statistics) -> a reason to refuse, or None."""


def finite(i: int, stats: RoundStats) -> str | None:
    """Refuse a delta that holds NaN or an infinity: one such number would be in every later base."""
    return None if stats.finite[i] else "holds NaN or Inf"


def changed(i: int, stats: RoundStats) -> str | None:
    """Refuse a delta of nothing but zeros: it would only make the mean of the others shorter."""
    return (
        "changes nothing: every number of the delta is 0" if stats.finite[i] and stats.peaks[i] == 0 else None
    )


def representable(i: int, stats: RoundStats) -> str | None:
    """Refuse a delta with a number that no exact sum can hold: no training makes one."""
    peak, most = stats.peaks[i], LIMIT / 2
    return None if peak <= most else f"changes a number by {peak:.3g}, more than {most:,.0f}"


SCREENS: Mapping[str, Screen] = {"finite": finite, "changed": changed, "representable": representable}


def judge(
    contributions: Sequence[Contribution], stats: RoundStats, screens: Mapping[str, Screen] = SCREENS
) -> list[Verdict]:
    """Every screen looks at every contribution; all reasons are kept, none is hidden."""
    return [
        verdict_on(contribution, [r for screen in screens.values() if (r := screen(i, stats))])
        for i, contribution in enumerate(contributions)
    ]
