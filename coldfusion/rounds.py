"""A round is a value; what happens to it are pure functions. Files and network are the coordinator's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from coldfusion.errors import RoundError
from coldfusion.records import Contribution, Revision, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One collect, screen, fuse, publish pass, from the base that it starts on."""

    index: int  # the base that it will publish; round 0 is the pretrained model
    base: Revision
    contributions: tuple[Contribution, ...] = ()  # admitted, by contributor
    verdicts: tuple[Verdict, ...] = ()  # of the screens: one for each contribution, in the same order
    refused: tuple[Verdict, ...] = ()  # at the door, or failed before they submitted

    @property
    def cohort(self) -> tuple[Contribution, ...]:
        """The contributions that passed the screens, by contributor."""
        return tuple(
            contribution
            for contribution, verdict in zip(self.contributions, self.verdicts, strict=True)
            if verdict.accepted
        )

    @property
    def all_verdicts(self) -> tuple[Verdict, ...]:
        """Every verdict of the round, by contributor and pull request."""
        return tuple(sorted((*self.verdicts, *self.refused), key=lambda v: (v.contributor, v.proposal or 0)))


def admit(round_: Round, contribution: Contribution) -> Round:
    """The round with one more contribution, or with it refused: the first one of a contributor counts.

    Contributions come in the order of their pull requests' numbers, which is the same for everyone who looks.
    """
    name, base = contribution.manifest.contributor, contribution.manifest.base
    already = next((c for c in round_.contributions if c.manifest.contributor == name), None)
    if contribution.manifest.round_index != round_.index or base != round_.base:
        reason = (
            f"made for round {contribution.manifest.round_index} from base {base[:12]}; "
            f"the open round is {round_.index}, on base {round_.base[:12]}"
        )
    elif already is not None:
        reason = f"{name} already contributes to this round with pull request #{already.proposal}"
    else:
        both = sorted((*round_.contributions, contribution), key=lambda c: c.manifest.contributor)
        return replace(round_, contributions=tuple(both))
    return refuse(round_, [verdict_on(contribution, [reason])])


def verdict_on(contribution: Contribution, reasons: Iterable[str]) -> Verdict:
    """The verdict on a contribution: accepted where there is no reason against it."""
    return Verdict(
        contributor=contribution.manifest.contributor,
        proposal=contribution.proposal,
        revision=contribution.revision,
        reasons=tuple(reasons),
    )


def refuse(round_: Round, verdicts: Iterable[Verdict]) -> Round:
    """The round with some refusals that the screens never saw."""
    verdicts = tuple(verdicts)
    if wrong := [verdict.contributor for verdict in verdicts if verdict.accepted]:
        raise RoundError(f"round {round_.index}: a refusal of {wrong[0]!r} gives no reason")
    return replace(round_, refused=(*round_.refused, *verdicts))


def decide(round_: Round, verdicts: Sequence[Verdict]) -> Round:
    """The round with the screens' verdicts: exactly one for each contribution."""
    wanted = [(c.manifest.contributor, c.proposal) for c in round_.contributions]
    if [(v.contributor, v.proposal) for v in verdicts] != wanted:
        raise RoundError(f"round {round_.index}: verdicts do not match contributions")
    return replace(round_, verdicts=tuple(verdicts))
