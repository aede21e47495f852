"""What predictions on a test split are worth.

Every metric is computed over counted examples, for many sets of counts at once: row r of `counts` says how
often each example stands in resample r. All ones is the split itself, and a bootstrap is a few thousand rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from coldfusion.dtypes import Float64
from coldfusion.errors import ConfigError

Counts = Float64  # (r, n)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. of(truth (n,), predicted (n,), counts (r, n)) -> (r,)."""

    name: str
    of: Callable[[Float64, Float64, Counts], Float64]
    takes: Literal["labels", "values", "losses", "credits"]  # what `predicted` holds of each example
    unit: Literal["points", "nats"] = "points"  # points: 100 is perfect
    summary: str = ""

    @property
    def sign(self) -> int:
        """-1 where lower is better."""
        return -1 if self.unit == "nats" else 1

    @property
    def least(self) -> float:
        """No score is lower."""
        return -100.0 if self.name in ("matthews", "spearman", "pearson") else 0.0


def accuracy(truth: Float64, predicted: Float64, counts: Counts) -> Float64:
    """100 * share of the examples that were labelled right."""
    return _percent(counts @ (truth == predicted), counts.sum(axis=1))


def macro_f1(truth: Float64, predicted: Float64, counts: Counts) -> Float64:
    """100 * mean over labels of 2 TP / (2 TP + FP + FN); over those that occur, in truth or as predicted."""
    right, true, said = _confusion(truth, predicted, counts)
    occurs = true + said > 0
    f1 = np.divide(2 * right, true + said, out=np.zeros(right.shape), where=occurs)
    return _percent(f1.sum(axis=1), occurs.sum(axis=1))


def matthews(truth: Float64, predicted: Float64, counts: Counts) -> Float64:
    """100 * Matthews' correlation, of any number of labels (Gorodkin 2004); 0 where either is constant."""
    right, true, said = _confusion(truth, predicted, counts)
    total = counts.sum(axis=1)
    shared = right.sum(axis=1) * total - (true * said).sum(axis=1)
    spread = (total**2 - (true**2).sum(axis=1)) * (total**2 - (said**2).sum(axis=1))
    return _percent(shared, np.sqrt(np.maximum(spread, 0)))


def spearman(truth: Float64, predicted: Float64, counts: Counts) -> Float64:
    """100 * correlation of the ranks, equal values sharing their mean rank; 0 where either is constant."""
    middle = (counts.sum(axis=1, keepdims=True) + 1) / 2
    one, two = (_ranks(values, counts) - middle for values in (truth, predicted))
    return _correlation(one, two, counts)


def pearson(truth: Float64, predicted: Float64, counts: Counts) -> Float64:
    """100 * correlation of the values; 0 where either is constant."""
    one, two = (_centred(values, counts) for values in (truth, predicted))
    return _correlation(one, two, counts)


def credit(truth: Float64, predicted: Float64, counts: Counts) -> Float64:
    """100 * mean of what every example earned, 0 to 1, which is what `predicted` holds."""
    del truth
    return _percent(counts @ predicted, counts.sum(axis=1))


def loss(truth: Float64, predicted: Float64, counts: Counts) -> Float64:
    """Mean of the examples' losses, in nats, which is what `predicted` holds."""
    del truth
    mean: Float64 = counts @ predicted / counts.sum(axis=1)
    return mean


def _percent(part: Float64, whole: Float64) -> Float64:
    """100 * part / whole, (r,) each; 0 where the whole is 0."""
    share: Float64 = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
    return 100.0 * share


def _confusion(truth: Float64, predicted: Float64, counts: Counts) -> tuple[Float64, Float64, Float64]:
    """By label, (r, labels) each: how many are right, how many there are, how many were said to be."""
    labels = np.unique(np.concatenate([truth, predicted]))
    true, said = truth[:, None] == labels, predicted[:, None] == labels
    return counts @ (true & said), counts @ true, counts @ said


def _correlation(one: Float64, two: Float64, counts: Counts) -> Float64:
    """Of deviations from the mean, (r, n) each."""
    shared = (counts * one * two).sum(axis=1)
    spread = (counts * one**2).sum(axis=1) * (counts * two**2).sum(axis=1)
    return _percent(shared, np.sqrt(spread))


def _centred(values: Float64, counts: Counts) -> Float64:
    """(r, n): every example's value less the mean of its resample."""
    mean = counts @ values / counts.sum(axis=1)
    found: Float64 = values - mean[:, None]
    # Where all are equal the mean may be off by a rounding, which is no spread.
    found[np.abs(found) <= 1e-12 * np.abs(values).max(initial=0)] = 0
    return found


def _ranks(values: Float64, counts: Counts) -> Float64:
    """(r, n): the mean rank, from 1, of every example's value in every resample."""
    _, group = np.unique(values, return_inverse=True)
    sizes = np.zeros((len(counts), group.max(initial=-1) + 1))
    for k in range(sizes.shape[1]):
        sizes[:, k] = counts[:, group == k].sum(axis=1)
    ends = sizes.cumsum(axis=1)
    ranks: Float64 = (ends - (sizes - 1) / 2)[:, group]
    return ranks


METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", accuracy, "labels", summary="share of right labels"),
        Metric("macro_f1", macro_f1, "labels", summary="mean F1 over the labels"),
        Metric("matthews", matthews, "labels", summary="Matthews' correlation of labels"),
        Metric("spearman", spearman, "values", summary="rank correlation of values, of labels in order"),
        Metric("pearson", pearson, "values", summary="correlation of values"),
        Metric("credit", credit, "credits", summary="mean of what examples earn, as lm-eval says"),
        Metric("loss", loss, "losses", "nats", summary="cross-entropy; half the squared error of numbers"),
    )
}


def metric_named(name: str) -> Metric:
    """Raises ConfigError naming what there is."""
    try:
        return METRICS[name]
    except KeyError:
        raise ConfigError(f"unknown metric {name!r}; known: {', '.join(METRICS)}") from None
