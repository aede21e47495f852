"""`coldfusion status`: rounds, contributions, verdicts, scores, and what the federation waits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from rich.console import Console
from rich.table import Table
from rich.text import Text

from coldfusion.cards import describe, describe_fusing, describe_trial
from coldfusion.credits import Credit, correlation, credits_of
from coldfusion.federation import State, read_records, read_state
from coldfusion.hub import Hub
from coldfusion.layout import tag_name
from coldfusion.outlook import Outlook, outlook
from coldfusion.records import Entry, Evaluation, RoundRecord, Worth

MOST_CREDITS = 20  # contributors that are listed
LAST = 3  # rounds whose contributions are listed one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All that a federation says about itself at one moment."""

    address: str
    state: State
    records: tuple[RoundRecord, ...]  # from round 0
    outlook: Outlook


def read_overview(hub: Hub) -> Overview:
    """Raises RoundError where the repo is no federation, NotOnHub where there is none."""
    state = read_state(hub)
    there = outlook(state.open_round, state.policy, hub.published(state.base), hub.proposals())
    return Overview(address=hub.address, state=state, records=tuple(read_records(hub)), outlook=there)


def show(overview: Overview, console: Console) -> None:
    """Print the overview as tables and lines; lines are not broken, so that a program can read them."""
    state, policy = overview.state, overview.state.policy
    line = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    line(f"{overview.address}: base of {tag_name(state.record.round_index)} at {state.base}")
    line(f"{describe_fusing(policy.fusing())}, quorum {policy.quorum}")
    console.print(rounds_table(overview.records))
    for record in overview.records[1:][-LAST:]:
        console.print(_contributions(record))
        for trial in record.trials:
            line(f"gate: {describe_trial(trial)}")
        if (related := correlation(record.worths)) is not None:
            line(f"worth: the estimates correlate {related:+.2f} with leaving out")
        for note in record.notes:
            line(f"note: {note}")
    credits = credits_of(overview.records)
    if any(credit.num_measured or credit.estimate is not None for credit in credits):
        console.print(_credit(credits))
        if len(credits) > MOST_CREDITS:
            line(f"and {len(credits) - MOST_CREDITS} more contributors")
    line(str(overview.outlook))
    if overview.outlook.contributors:
        line(f"there: {', '.join(overview.outlook.contributors)}")


def rounds_table(records: tuple[RoundRecord, ...]) -> Table:
    """What was fused and refused in every round, and the scores of its base."""
    groups = sorted(
        {(s.protocol, s.held_out) for record in records for s in record.evaluation.scores},
        key=lambda group: (group[0], not group[1]),
    )
    table = Table(title="rounds")
    for title in ("round", "fused", "refused"):
        table.add_column(title, justify="right")
    for protocol, held_out in groups:
        table.add_column(f"{protocol}, {'held-out' if held_out else 'contributed'}")
    for record in records:
        counts = (str(record.num_accepted), str(len(record.entries) - record.num_accepted))
        scores = (_score(record.evaluation, *group) for group in groups)
        table.add_row(str(record.round_index), *(counts if record.round_index else ("", "")), *scores)
    return table


def _contributions(record: RoundRecord) -> Table:
    table = Table(title=f"round {record.round_index}")
    for title in ("contributor", "pull request", "examples", "norm", "worth", "verdict"):
        table.add_column(title, justify="left" if title in ("contributor", "verdict") else "right")
    for entry in record.entries:
        # What strangers wrote is text, never markup.
        table.add_row(*(Text(cell) for cell in _cells(entry, record)))
    return table


def _cells(entry: Entry, record: RoundRecord) -> tuple[str, ...]:
    worth = next((w for w in record.worths if w.contributor == entry.contributor and entry.accepted), None)
    return (
        entry.contributor,
        f"#{entry.proposal}" if entry.proposal is not None else "",
        f"{entry.num_examples:,}" if entry.num_examples is not None else "",
        f"{entry.norm:.4g}" if entry.norm is not None else "",
        _worth(worth),
        f"fused, weight {entry.weight:.3g}" if entry.accepted else "refused: " + "; ".join(entry.reasons),
    )


def _worth(worth: Worth | None) -> str:
    """Points by leaving it out, else the estimate."""
    if worth is None:
        return ""
    if worth.gain is None:
        return f"about {worth.estimate:+.2g} nats" if worth.estimate is not None else ""
    return describe(worth.gain)


def _credit(credits: Sequence[Credit]) -> Table:
    table = Table(title="credit: points on held-out tasks that contributions were worth, over all rounds")
    counts, sums = ("fused", "refused", "left out to see"), ("worth", "helped", "hurt", "estimate, nats")
    for title in ("contributor", *counts, *sums):
        table.add_column(title, justify="left" if title == "contributor" else "right")
    for one in credits[:MOST_CREDITS]:
        numbers = (one.num_fused, one.num_refused, one.num_measured)
        measured = (f"{one.worth:+.2f}", str(one.num_helped), str(one.num_hurt))
        worth = measured if one.num_measured else ("", "", "")
        estimate = "" if one.estimate is None else f"{one.estimate:+.3g}"
        table.add_row(Text(one.contributor), *map(str, numbers), *worth, estimate)
    return table


def _score(evaluation: Evaluation, protocol: str, held_out: bool) -> str:
    gain = evaluation.gain(protocol, held_out=held_out)
    if gain is None:
        return ""
    return f"{evaluation.mean_score(protocol, held_out=held_out):.2f}  {describe(gain)}"
