"""`coldfusion status --watch`: a federation as it changes, in place in a terminal, in lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from coldfusion.cards import describe, describe_fusing
from coldfusion.errors import HubUnavailable
from coldfusion.gating import PROBE
from coldfusion.hub import Hub
from coldfusion.layout import tag_name
from coldfusion.outlook import outlook
from coldfusion.overview import Overview, read_overview, rounds_table

ROUNDS, REFUSALS, NAMES = 8, 3, 12
"""As many as are shown: everything has to fit into a terminal at once."""


def _now() -> datetime:
    return datetime.now()


@dataclass(slots=True, kw_only=True)
class LiveView:
    """A view of a federation that looks again and again; `run` goes on until it is interrupted."""

    hub: Hub
    console: Console
    every: float = 30.0  # seconds between two looks
    on_change: Callable[[Overview], None] = lambda overview: None
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = _now
    _seen: Overview | None = field(default=None, init=False)
    _said: list[str] = field(default_factory=list, init=False)

    def run(self) -> None:
        """Look and show for ever: an outage of the Hub is shown and outlived."""
        with self._shown() as show:
            while True:
                nap, trouble = self.every, ""
                try:
                    self._look()
                except HubUnavailable as exc:
                    nap, trouble = max(nap, exc.retry_after or 0.0), str(exc)
                show(trouble, nap)
                self.sleep(nap)

    def _look(self) -> None:
        """See what is there now; the records are read again only where main has moved."""
        seen, hub = self._seen, self.hub
        if seen is None or hub.head() != seen.state.head:
            found = read_overview(hub)
        else:
            state = seen.state
            there = outlook(state.open_round, state.policy, hub.published(state.base), hub.proposals())
            found = replace(seen, outlook=there)
        if found != seen:
            self.on_change(found)
        self._seen = found

    @contextmanager
    def _shown(self) -> Iterator[Callable[[str, float], None]]:
        """What shows a look: (what is wrong, seconds until the next one)."""
        if not self.console.is_terminal:
            yield self._say
            return
        with Live(console=self.console, auto_refresh=False) as live:

            def show(trouble: str, nap: float) -> None:
                live.update(self._picture(trouble, nap), refresh=True)

            yield show

    def _picture(self, trouble: str, nap: float) -> Group:
        """One row for every line, however long it is: it all has to fit."""
        parts: list[Table | Text] = []
        if (seen := self._seen) is not None:
            lines = [Text(line, no_wrap=True, overflow="ellipsis") for line in _lines(seen)]
            parts = [lines[0], rounds_table(seen.records[-ROUNDS:]), *lines[1:]]
        if trouble:
            parts.append(Text(trouble, style="red"))
        when = f"looked at {self.now():%H:%M:%S}, again in {nap:.0f} s; Ctrl-C ends this"
        return Group(*parts, Text(when, style="dim"))

    def _say(self, trouble: str, nap: float) -> None:
        """Print what was not said last time; lines are not broken, so that a program can read them.

        After an outage everything is said again.
        """
        lines = [trouble] if trouble else _lines(self._seen) if self._seen else []
        more = f"; looking again in {nap:.0f} s" if trouble else ""
        for line in lines:
            if line not in self._said:
                said = f"{self.now():%Y-%m-%d %H:%M:%S} {line}{more}"
                self.console.print(said, highlight=False, markup=False, soft_wrap=True)
        self._said = lines


def _lines(seen: Overview) -> list[str]:
    record, policy, waiting = seen.records[-1], seen.state.policy, seen.outlook.contributors
    fused = f", {record.num_accepted} of {len(record.entries)} fused" if record.entries else ""
    gain = record.evaluation.gain(PROBE, held_out=True) if record.round_index else None
    scored = f", held-out probe gain {describe(gain)}" if gain else ""
    refused = [e for e in record.entries if not e.accepted]
    return [
        f"{seen.address}: base of {tag_name(record.round_index)}{fused}{scored}",
        *(f"refused: {e.contributor}: {'; '.join(e.reasons)}" for e in refused[:REFUSALS]),
        *([f"and {len(refused) - REFUSALS} more refused"] if len(refused) > REFUSALS else []),
        f"{seen.outlook}; {describe_fusing(policy.fusing())}",
        *([f"there: {_some(waiting)}"] if waiting else []),
    ]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
    return ", ".join(names[:NAMES]) + more
