"""What a round comes to in plain numbers, for a dashboard."""

from __future__ import annotations

from coldfusion.groups import Group, group_of
from coldfusion.records import Gain, RoundRecord


def numbers_of(record: RoundRecord) -> dict[str, float]:
    """Name -> number; names have parts between slashes, the first says what is counted.

        score/probe/held-out              mean over tasks, points
        gain_pretrained/probe/held-out    points, with /low and /high: its 95 % interval; and gain_previous
        worth/alice                       points that her contribution was worth, with /low and /high
        estimate/alice                    the same by first order, nats
        round/fused, round/refused        contributions; round/bytes, round/examples: of those fused

    Scores and gains in another unit say it: score/probe/held-out/nats.
    """
    fused = [entry for entry in record.entries if entry.accepted]
    numbers = {
        "round/fused": float(len(fused)),
        "round/refused": float(len(record.entries) - len(fused)),
        "round/bytes": float(sum(entry.size or 0 for entry in fused)),
        "round/examples": float(sum(entry.num_examples or 0 for entry in fused)),
    }
    scores = record.evaluation.scores
    for group in dict.fromkeys(map(group_of, scores)):
        if (mean := group.mean(scores)) is not None:
            numbers[f"score/{_name(group)}"] = mean
    for gain in record.evaluation.gains:
        group = Group(gain.protocol, gain.held_out, gain.unit)
        numbers |= _interval(f"gain_{gain.against}/{_name(group)}", gain)
    for worth in record.worths:
        if worth.gain is not None:
            numbers |= _interval(f"worth/{worth.contributor}", worth.gain)
        if worth.estimate is not None:
            numbers[f"estimate/{worth.contributor}"] = worth.estimate
    return numbers


def _interval(name: str, gain: Gain) -> dict[str, float]:
    return {name: gain.mean, f"{name}/low": gain.low, f"{name}/high": gain.high}


def _name(group: Group) -> str:
    return f"{group.protocol}/{group.kind}" + ("" if group.unit == "points" else f"/{group.unit}")
