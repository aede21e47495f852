"""What a round comes to in plain numbers, for a dashboard."""

from __future__ import annotations

from statistics import fmean

from coldfusion.metrics import METRICS
from coldfusion.records import Evaluation, Gain, RoundRecord


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
    numbers |= _scores(record.evaluation)
    for gain in record.evaluation.gains:
        numbers |= _interval(f"gain_{gain.against}/{_group(gain.protocol, gain.held_out, gain.unit)}", gain)
    for worth in record.worths:
        if worth.gain is not None:
            numbers |= _interval(f"worth/{worth.contributor}", worth.gain)
        if worth.estimate is not None:
            numbers[f"estimate/{worth.contributor}"] = worth.estimate
    return numbers


def _scores(evaluation: Evaluation) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for score in evaluation.scores:
        group = _group(score.protocol, score.held_out, METRICS[score.metric].unit)
        found.setdefault(f"score/{group}", []).append(score.score)
    return {name: fmean(scores) for name, scores in found.items()}


def _interval(name: str, gain: Gain) -> dict[str, float]:
    return {name: gain.mean, f"{name}/low": gain.low, f"{name}/high": gain.high}


def _group(protocol: str, held_out: bool, unit: str) -> str:
    kind = "held-out" if held_out else "contributed"
    return f"{protocol}/{kind}" + ("" if unit == "points" else f"/{unit}")
