"""How rules, gains and candidates are said, in cards, reports and terminals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from coldfusion.records import Fusing, Gain, Option, TaskGain, Trial, Worth

MOST_ROWS = 40
"""Tasks that a comment lists."""


def describe_fusing(fusing: Fusing) -> str:
    """`ties (density 0.2), nesterov (outer_lr 0.7, momentum 0.9)`; ColD Fusion is `mean, outer_lr 1`."""
    parts = [_with_options(fusing.fuser, fusing.fuser_options)]
    if fusing.weights != "uniform":
        parts.append(f"weighted by {fusing.weights} (max_examples {fusing.max_examples})")
    rate: dict[str, Option] = {"outer_lr": fusing.outer_lr}
    if fusing.outer == "sgd":
        return ", ".join([*parts, f"outer_lr {fusing.outer_lr:g}"])
    return ", ".join([*parts, _with_options(fusing.outer, {**rate, **fusing.outer_options})])


def _with_options(name: str, options: Mapping[str, Option]) -> str:
    values = (f"{key} {f'{v:g}' if isinstance(v, float) else v}" for key, v in options.items())
    return f"{name} ({', '.join(values)})" if options else name


def describe_trial(trial: Trial) -> str:
    """`without mallory: +1.20 [+0.40, +2.00] on the base before, published`."""
    who = f"without {', '.join(trial.without)}" if trial.without else "everybody"
    outcome = f"not published: {'; '.join(trial.reasons)}" if trial.reasons else "published"
    return f"{who}: {describe(trial.gain)} on the base before, {outcome}"


def describe_worth(worth: Worth) -> str:
    """What a contribution was worth, in Markdown: a sentence, and a row for every held-out task."""
    if worth.gain is None:
        return "" if worth.estimate is None else f"{_estimated(worth.estimate)}; it was not left out to see."
    lines = [
        f"**What it was worth: {describe(worth.gain)} points** on {worth.gain.num_tasks} held-out tasks. "
        "So much better is this base than the same one without this contribution (95 % interval, on "
        "validation splits)."
    ]
    if worth.estimate is not None:
        lines.append(f"{_estimated(worth.estimate)}.")
    rows = [f"| {t.task} | {t.mean:+.2f} | {t.low:+.2f} to {t.high:+.2f} |" for t in _by_gain(worth.tasks)]
    table = ["| held-out task | points | 95 % interval |", "| --- | --- | --- |", *rows[:MOST_ROWS]]
    if len(rows) > MOST_ROWS:
        table.append(f"| and {len(rows) - MOST_ROWS} more, in the round's record | | |")
    return "\n\n".join([*lines, "\n".join(table)]) if rows else "\n\n".join(lines)


def _estimated(nats: float) -> str:
    return f"First-order estimate: it took {nats:+.3g} nats off the loss on held-out tasks"


def _by_gain(tasks: Sequence[TaskGain]) -> list[TaskGain]:
    return sorted(tasks, key=lambda task: (-task.mean, task.task))


def describe_worse(gain: Gain | None) -> str:
    """`3 of 20, cola -2.10`: the tasks that got worse, and the worst of them."""
    if gain is None:
        return ""
    worst = f", {gain.worst} {gain.worst_gain:+.2f}" if gain.num_worse else ""
    return f"{gain.num_worse} of {gain.num_tasks}{worst}"


def describe(gain: Gain | None, digits: int = 2) -> str:
    """`+1.23 [+0.80, +1.66]`: points and their 95 % interval."""
    if gain is None:
        return ""
    return f"{gain.mean:+.{digits}f} [{gain.low:+.{digits}f}, {gain.high:+.{digits}f}]"
