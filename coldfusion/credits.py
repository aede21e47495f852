"""The credit table: what every contributor's work was worth, over all rounds of a federation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coldfusion.records import Entry, RoundRecord, Worth


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """One contributor's sum over the rounds."""

    contributor: str
    num_fused: int  # contributions that are in a base
    num_refused: int
    num_measured: int  # contributions that were left out once to see what they were worth
    worth: float  # points on held-out tasks, the sum of what leaving each one out took away
    num_helped: int  # of the measured: the interval lies above 0
    num_hurt: int  # of the measured: the interval lies below 0
    estimate: float | None  # nats, the sum of the first-order estimates; None where there is none


def credits_of(records: Sequence[RoundRecord]) -> tuple[Credit, ...]:
    """Of everybody who ever contributed, most worth first."""
    entries, worths = defaultdict[str, list[Entry]](list), defaultdict[str, list[Worth]](list)
    for record in records:
        for entry in record.entries:
            entries[entry.contributor].append(entry)
        for worth in record.worths:
            worths[worth.contributor].append(worth)
    found = (_credit(name, entries[name], worths[name]) for name in list(entries))
    return tuple(sorted(found, key=lambda c: (-c.worth, -(c.estimate or 0.0), c.contributor)))


def correlation(worths: Sequence[Worth]) -> float | None:
    """Pearson's, of the estimates with the leave-one-out gains; None of fewer than three, or of constants."""
    pairs = [(w.estimate, w.gain.mean) for w in worths if w.estimate is not None and w.gain is not None]
    estimates, gains = np.array(pairs, np.float64).reshape(-1, 2).T
    if len(pairs) < 3 or not np.ptp(estimates) > 0 or not np.ptp(gains) > 0:
        return None
    return round(float(np.corrcoef(estimates, gains)[0, 1]), 3)


def _credit(name: str, entries: Sequence[Entry], worths: Sequence[Worth]) -> Credit:
    gains = [worth.gain for worth in worths if worth.gain is not None]
    return Credit(
        contributor=name,
        num_fused=sum(entry.accepted for entry in entries),
        num_refused=sum(not entry.accepted for entry in entries),
        num_measured=len(gains),
        worth=round(sum(gain.mean for gain in gains), 4),
        num_helped=sum(gain.low > 0 for gain in gains),
        num_hurt=sum(gain.high < 0 for gain in gains),
        estimate=_estimate(worths),
    )


def _estimate(worths: Sequence[Worth]) -> float | None:
    found = [worth.estimate for worth in worths if worth.estimate is not None]
    return float(f"{sum(found):.6g}") if found else None
