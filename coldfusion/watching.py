"""Running rounds as they fill: when to look, when to run, when to stop. Clock and sleep are arguments."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from coldfusion.coordinator import Coordinator
from coldfusion.errors import HubUnavailable, NotYet
from coldfusion.federation import State, read_state
from coldfusion.outlook import Outlook, outlook
from coldfusion.records import RoundRecord


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How a coordinator keeps watch over its federation."""

    coordinator: Coordinator
    say: Callable[[str], None]
    poll: float = 60.0  # seconds between two looks
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = _now

    def run_open_round(self) -> RoundRecord | Outlook:
        """The record of the open round if it was due, else what it waits for."""
        state = self.coordinator.finish()
        there = self.outlook(state)
        quorum = there.quorum_at(self.now())
        return there if quorum is None else self.coordinator.run_round(quorum=quorum, state=state)

    def rounds(self) -> Iterator[RoundRecord]:
        """Every round as it fills, for ever: neither a bad contribution nor an outage ends the watch.

        StaleParent does: somebody else coordinates this federation.
        """
        finished, told, failed = False, "", None
        while True:
            nap = self.poll
            try:
                if not finished:
                    self.coordinator.finish()
                    finished = True
                state = read_state(self.coordinator.hub)
                there = self.outlook(state)
                quorum = there.quorum_at(self.now())
                if str(there) != told:
                    told = str(there)
                    self.say(told)
                if quorum is not None and failed != (there, quorum):
                    failed = (there, quorum)
                    yield self.coordinator.run_round(quorum=quorum, state=state)
                    continue
            except NotYet as exc:  # tried again when something else is there
                self.say(str(exc))
            except HubUnavailable as exc:  # perhaps between a commit and its tag: that comes first next time
                finished, failed = False, None
                nap = max(nap, exc.retry_after or 0.0)
                self.say(f"{exc}; looking again in {nap:.0f} s")
            self.sleep(nap)

    def outlook(self, state: State) -> Outlook:
        """What the open round has and waits for."""
        hub = self.coordinator.hub
        return outlook(state.open_round, state.policy, hub.published(state.base), hub.proposals())
