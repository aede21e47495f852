"""Pictures for reports, as SVG that a page can hold.

Text and lines take their colours from the page's own variables, so that a picture is light where the page is
and dark where it is dark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from coldfusion.gating import PROBE
from coldfusion.records import RoundRecord

INK, LINE, HELD_OUT, CONTRIBUTED = "#010101", "#020202", "#030303", "#040404"
"""Stand-ins that matplotlib draws with."""
VARIABLES = {INK: "--quiet", LINE: "--line", HELD_OUT: "--held-out", CONTRIBUTED: "--contributed"}
"""What the page calls these colours."""

WIDE, NARROW = (760, 320), (328, 280)
"""Pixels. Drawn twice, since letters must be as large on a phone as on a desk."""


def gain_chart(
    records: Sequence[RoundRecord], protocol: str = PROBE, size: tuple[int, int] = WIDE
) -> str | None:
    """The gain in score on the pretrained model, round by round, with its 95 % interval; None without any.

    The same records give the same text.
    """
    curves = {held_out: _curve(records, protocol, held_out=held_out) for held_out in (True, False)}
    if not any(curves.values()):
        return None
    salt = f"coldfusion-{protocol}-{size[0]}"
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "font.size": 12}):
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")
        axes = figure.subplots()
        axes.axhline(0, color=INK, linewidth=0.8)
        for held_out, curve in curves.items():
            _draw(axes, curve, held_out=held_out)
        _dress(axes, f"gain in {protocol} score, points")
        figure.legend(frameon=False, labelcolor=INK, loc="outside lower center", ncols=2)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return _for_a_page(out.getvalue())


Point = tuple[int, float, float, float]  # round, gain, interval


def _curve(records: Sequence[RoundRecord], protocol: str, *, held_out: bool) -> list[Point]:
    gains = ((record.round_index, record.evaluation.gain(protocol, held_out=held_out)) for record in records)
    return [(index, gain.mean, gain.low, gain.high) for index, gain in gains if gain is not None]


def _draw(axes: Axes, curve: Sequence[Point], *, held_out: bool) -> None:
    if not curve:
        return
    colour, label = (HELD_OUT, "held-out tasks") if held_out else (CONTRIBUTED, "contributed tasks")
    rounds, means, low, high = zip(*curve, strict=True)
    axes.fill_between(rounds, low, high, color=colour, alpha=0.16, linewidth=0)
    marker = "o" if len(curve) <= 40 else ""
    style = "-" if held_out else "--"  # told apart without colours too
    axes.plot(rounds, means, style, color=colour, marker=marker, markersize=4, linewidth=1.8, label=label)


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, color=INK, loc="left", fontsize=12)
    axes.set_xlabel("round", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, steps=[1, 2, 5, 10]))
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.02)
    axes.tick_params(colors=INK, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LINE)


def _for_a_page(svg: str) -> str:
    """The picture alone, in the page's letters and colours, without names that nothing in it refers to."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="(?![pm][0-9a-f]{10})[^"]*"', "", svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1; font-family: inherit", svg)
    svg = re.sub(r"font-family: '[^;\"]*", "font-family: inherit", svg)
    for stand_in, variable in VARIABLES.items():
        svg = svg.replace(stand_in, f"var({variable})")
    return svg
