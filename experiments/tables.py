"""What a run ends with in the terminal."""

from __future__ import annotations

from rich.table import Table

from coldfusion.cards import describe
from coldfusion.records import Evaluation
from contributors.scoring import FINE_TUNE, PROBE
from experiments.report import Run

GROUPS = {
    "contributed tasks": (PROBE, False),
    "held-out tasks": (PROBE, True),
    "fine-tune": (FINE_TUNE, True),
}


def round_table(run: Run) -> Table:
    """Per round: the mean probe score on contributed and on held-out tasks, and its gain on round 0."""
    table = Table(title=f"{run.config.name}: mean probe score in points, gain on round 0 with 95 % interval")
    table.add_column("round", justify="right")
    table.add_column("fused", justify="right")
    shown = {
        title: group
        for title, group in GROUPS.items()
        if any(record.evaluation.gain(group[0], held_out=group[1]) for record in run.records)
    }
    for title in shown:
        table.add_column(title)
    for record in run.records:
        cells = [_cell(record.evaluation, *group) for group in shown.values()]
        table.add_row(str(record.round_index), str(record.num_accepted or ""), *cells)
    return table


def time_line(run: Run) -> str:
    """One line: where the time of the rounds went."""
    splits = run.splits()
    total = sum(split.seconds for split in splits)
    if not total:
        return "time:   no round ran without interruption"
    train, score, neither = (sum(getattr(s, part) for s in splits) for part in ("train", "score", "neither"))
    return (
        f"time:   {len(splits)} rounds in {total:.0f} s; somebody trained in {train:.0f} s, scored in "
        f"{score:.0f} s, neither in {neither:.1f} s ({neither / total:.1%})"
    )


def _cell(evaluation: Evaluation, protocol: str, held_out: bool) -> str:
    gain = evaluation.gain(protocol, held_out=held_out)
    if gain is None:
        return ""
    return f"{evaluation.mean_score(protocol, held_out=held_out):.2f}  {describe(gain, digits=1)}"
