"""What the open round has and what it waits for, by the titles of the open pull requests: a pure value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from coldfusion.admission import check_account
from coldfusion.config import Policy
from coldfusion.hub import Proposal
from coldfusion.records import Revision, parse_title


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The open round from outside: nothing of it was fetched or screened yet."""

    round_index: int
    contributors: tuple[str, ...]  # whose contributions are there, by name
    proposals: frozenset[tuple[int, Revision]]  # that are titled like contributions, as they are now
    quorum: int
    deadline: datetime | None  # None: the round waits for its quorum, however long

    def quorum_at(self, now: datetime) -> int | None:
        """How many accepted contributions the round needs if it is run now; None where it should not be."""
        if self.contributors and self.deadline is not None and now >= self.deadline:
            return 1
        return self.quorum if len(self.contributors) >= self.quorum else None

    def __str__(self) -> str:
        there, missing = len(self.contributors), max(0, self.quorum - len(self.contributors))
        waits = f"waits for {missing} more" if missing else "is ready to be fused"
        until = f", or until {self.deadline:%Y-%m-%d %H:%M} UTC" if missing and self.deadline else ""
        counts = f"{there} of {self.quorum} contributions are there"
        return f"round {self.round_index}: {counts}; it {waits}{until}"


def addressed_to(round_index: int, proposals: Sequence[Proposal]) -> list[tuple[Proposal, str]]:
    """The pull requests that are titled like contributions to a round, each with the contributor's name."""
    titled = ((proposal, parse_title(proposal.title)) for proposal in proposals)
    return [(p, title[1]) for p, title in titled if title is not None and title[0] == round_index]


def outlook(round_index: int, policy: Policy, published: datetime, proposals: Sequence[Proposal]) -> Outlook:
    """The outlook of a round whose base was published at a moment and that has these open pull requests.

    A contribution counts where its account may make it; anybody can title a pull request.
    """
    ours = addressed_to(round_index, proposals)
    names = {name for p, name in ours if not check_account(name, p.author, policy)}
    hours = policy.deadline_hours
    return Outlook(
        round_index=round_index,
        contributors=tuple(sorted(names)),
        proposals=frozenset((proposal.number, proposal.revision) for proposal, _ in ours),
        quorum=policy.quorum,
        deadline=None if hours is None else published + timedelta(hours=hours),
    )
