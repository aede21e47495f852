"""The scores of every base: which groups of tasks there are, and the gain that a page opens with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coldfusion.groups import Group, group_of
from coldfusion.records import Gain, RoundRecord

PROTOCOLS = ("probe", "head", "few-shot", "fine-tune")
"""In the order in which a page tells them."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The newest gain, with which a page opens."""

    group: Group
    gain: Gain  # on the pretrained model
    previous: Gain | None  # on the base before


def groups_of(records: Sequence[RoundRecord]) -> list[Group]:
    """Every group that some base has scores in: probe first, held-out first, points first."""
    found = {group_of(score) for record in records for score in record.evaluation.scores}
    return sorted(found, key=lambda g: (_place(g.protocol), g.protocol, g.unit != "points", not g.held_out))


def opening(records: Sequence[RoundRecord]) -> Opening | None:
    """The newest base's gain on held-out tasks, else on contributed ones; None before the first round."""
    newest = records[-1]
    if newest.round_index == 0:
        return None
    for group in sorted(groups_of(records), key=lambda group: not group.held_out):
        if gain := group.gain(newest.evaluation):
            return Opening(group, gain, group.gain(newest.evaluation, "previous"))
    return None


def _place(protocol: str) -> int:
    return PROTOCOLS.index(protocol) if protocol in PROTOCOLS else len(PROTOCOLS)
