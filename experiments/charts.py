"""Pictures for reports, as SVG that a page can hold."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coldfusion.records import RoundRecord
from contributors.scoring import PROBE

GREY = "#808080"  # readable on white and on black
COLOURS = {True: "#2a7de1", False: "#d9822b"}  # held-out, contributed


def gain_chart(records: Sequence[RoundRecord]) -> str:
    """The gain in probe score on the pretrained model, round by round, with its 95 % interval.

    The same records give the same text.
    """
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "coldfusion", "font.size": 10}):
        figure = Figure(figsize=(7.5, 3.4), layout="constrained")
        axes = figure.subplots()
        axes.axhline(0, color=GREY, linewidth=0.8)
        for held_out in (True, False):
            _curve(axes, records, held_out=held_out)
        axes.set_xlabel("round", color=GREY)
        axes.set_ylabel("gain in probe score, points", color=GREY)
        axes.set_xticks([record.round_index for record in records])
        axes.tick_params(colors=GREY)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(GREY)
        axes.legend(frameon=False, labelcolor=GREY)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    svg = out.getvalue()
    return svg[svg.index("<svg") :]


def _curve(axes: Axes, records: Sequence[RoundRecord], *, held_out: bool) -> None:
    gains = {record.round_index: record.evaluation.gain(PROBE, held_out=held_out) for record in records}
    found = [(index, gain) for index, gain in gains.items() if gain is not None]
    rounds, colour = [index for index, _ in found], COLOURS[held_out]
    low, high = [gain.low for _, gain in found], [gain.high for _, gain in found]
    label = "held-out tasks" if held_out else "contributed tasks"
    axes.fill_between(rounds, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(rounds, [gain.mean for _, gain in found], color=colour, marker="o", markersize=4, label=label)
