"""How rules, gains and candidates are said, in cards, reports and terminals."""

from __future__ import annotations

from collections.abc import Mapping

from coldfusion.records import Fusing, Gain, Option, Trial


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
