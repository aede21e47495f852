"""The picture on a model card: whether the bases get better, round by round."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from coldfusion.records import Gain, RoundRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY = "#808080"  # readable on white and on black
COLOURS = {True: "#2a7de1", False: "#d9822b"}  # held-out, contributed
BEST = ("probe", "points")  # what is drawn where several protocols and units are there


def gain_picture(records: Sequence[RoundRecord]) -> bytes | None:
    """PNG: the gain on the pretrained model after every round, with its 95 % interval; None without scores.

    The same records give the same bytes, with the same matplotlib. Its background is transparent.
    """
    drawn = _drawn(records)
    if drawn is None:
        return None
    from matplotlib import style  # slow to import, and needed once in a round
    from matplotlib.figure import Figure

    out = io.BytesIO()
    with style.context("default"):  # not what this user prefers: the bytes are to be the same everywhere
        figure = Figure(figsize=(7.5, 3.4), layout="constrained")
        axes = figure.subplots()
        for held_out in (True, False):
            _draw(axes, _curve(records, *drawn, held_out=held_out), held_out=held_out)
        _label(axes, f"gain in {drawn[0]} score, {drawn[1]}")
        figure.savefig(out, format="png", dpi=144, transparent=True, metadata={"Software": None})
    return out.getvalue()


def _drawn(records: Sequence[RoundRecord]) -> tuple[str, str] | None:
    """(protocol, unit) of the gains that are drawn."""
    gains = (gain for record in records for gain in record.evaluation.gains if gain.against == "pretrained")
    found = {(gain.protocol, gain.unit) for gain in gains}
    return BEST if BEST in found else min(found, default=None)


def _curve(records: Sequence[RoundRecord], protocol: str, unit: str, *, held_out: bool) -> dict[int, Gain]:
    """Round -> gain, of the rounds that have one."""
    gains = {r.round_index: r.evaluation.gain(protocol, held_out=held_out, unit=unit) for r in records}
    return {index: gain for index, gain in gains.items() if gain is not None}


def _draw(axes: Axes, curve: Mapping[int, Gain], *, held_out: bool) -> None:
    if not curve:
        return
    rounds, gains, colour = list(curve), list(curve.values()), COLOURS[held_out]
    low, high = [gain.low for gain in gains], [gain.high for gain in gains]
    label = "held-out tasks" if held_out else "contributed tasks"
    axes.fill_between(rounds, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.vlines(rounds, low, high, color=colour, alpha=0.5, linewidth=1)
    axes.plot(rounds, [gain.mean for gain in gains], color=colour, marker="o", markersize=4, label=label)


def _label(axes: Axes, ylabel: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xlabel("round", color=GREY)
    axes.set_ylabel(ylabel, color=GREY)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(colors=GREY)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.legend(frameon=False, labelcolor=GREY)
