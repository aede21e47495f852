"""The end of a round: every contribution is answered and closed, and what is too old is deleted.

All of it can be repeated. A pull request that cannot be closed must not stop the rounds after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from coldfusion.cardtext import worth_text
from coldfusion.errors import HubError, HubUnavailable
from coldfusion.federation import State, read_record
from coldfusion.hub import Hub
from coldfusion.layout import tag_name
from coldfusion.records import Entry, RoundRecord

OnTrouble = Callable[[str], None]


def settle(hub: Hub, state: State, *, on_trouble: OnTrouble = lambda text: None) -> None:
    """Close the contributions of the newest round, saying what became of them; delete those past retention.

    on_trouble: told of each pull request that the Hub would not let us close or delete.
    """
    record = state.record
    still_open = {proposal.number for proposal in hub.proposals()}
    for entry in record.entries:
        if entry.proposal in still_open:
            with _going_on(on_trouble):
                hub.settle(entry.proposal, comment=_comment(entry, record))
    _forget(hub, state, on_trouble)


def _forget(hub: Hub, state: State, on_trouble: OnTrouble) -> None:
    """Delete what is past its retention, round by round backwards, to the first where that was done."""
    if state.policy.retention is None:
        return
    kept: set[int] = set()
    for index in range(state.record.round_index - state.policy.retention, 0, -1):
        kept = kept or set(hub.settled())
        past = [e.proposal for e in read_record(hub, index, at=state.head).entries if e.proposal in kept]
        if not past:
            return
        for proposal in past:
            if proposal is not None:
                with _going_on(on_trouble):
                    hub.forget(proposal)


@contextmanager
def _going_on(on_trouble: OnTrouble) -> Iterator[None]:
    try:
        yield
    except HubUnavailable:
        raise  # trying again later helps
    except HubError as exc:
        on_trouble(str(exc))


def _comment(entry: Entry, record: RoundRecord) -> str:
    if not entry.accepted:
        return f"Not fused into {tag_name(record.round_index)}: " + "; ".join(entry.reasons)
    thanks = (
        f"Fused into {tag_name(record.round_index)} with weight {entry.weight:.4g}, one of "
        f"{record.num_accepted}. Thank you."
    )
    found = [worth_text(worth) for worth in record.worths if worth.contributor == entry.contributor]
    return "\n\n".join([thanks, *found])
