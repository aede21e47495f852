"""What a page is about: a federation's records, where its bases lie, and what is known of a run besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from coldfusion.config import Policy
from coldfusion.hub import Hub
from coldfusion.layout import tag_name
from coldfusion.outlook import Outlook
from coldfusion.overview import Overview
from coldfusion.records import Revision, RoundRecord
from experiments.timing import Split

MOST_DATED = 50
"""Rounds whose publication is looked up: one call to the Hub each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Where the bases of the rounds lie, by round."""

    revisions: Mapping[int, Revision] = field(default_factory=dict)
    moments: Mapping[int, datetime] = field(default_factory=dict)  # by the Hub's clock; of the newest
    base_bytes: int | None = None  # of the newest base's weights and outer state


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What is known of a run of this machine, and of no other federation."""

    rounds: int  # that it was asked for
    seed: int
    start: str  # what it calls the model that it started from
    config: str  # YAML
    base: Path  # where the newest base lies as a checkpoint
    splits: Mapping[int, Split]  # of the rounds that ran without interruption
    machine: str
    versions: Mapping[str, str]  # package -> version


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """All that a page shows."""

    title: str
    address: str
    records: tuple[RoundRecord, ...]  # from round 0, at least one
    published: Published = Published()
    policy: Policy | None = None
    outlook: Outlook | None = None  # of the open round, where there will be one
    run: RunFacts | None = None

    @property
    def newest(self) -> RoundRecord:
        return self.records[-1]

    @property
    def fused(self) -> tuple[RoundRecord, ...]:
        """Of the rounds that had contributions, the newest first."""
        return tuple(record for record in reversed(self.records) if record.entries)

    @property
    def pretrained(self) -> str | None:
        """What the model is called that everything started from."""
        names = (record.pretrained for record in self.records if record.pretrained)
        return next(names, self.run.start if self.run else None)


def page_of(hub: Hub, overview: Overview) -> Page:
    """The page of a federation on a Hub."""
    return Page(
        title=_short(overview.address),
        address=overview.address,
        records=overview.records,
        published=published(hub, overview.records),
        policy=overview.state.policy,
        outlook=overview.outlook,
    )


def published(hub: Hub, records: Sequence[RoundRecord]) -> Published:
    """Where the bases of these rounds lie: a record names the base before it, and a tag the newest."""
    newest = records[-1]
    revisions = {record.round_index - 1: record.parent for record in records if record.parent is not None}
    revisions[newest.round_index] = hub.resolve(tag_name(newest.round_index))
    dated = sorted(revisions)[-MOST_DATED:]
    files = {info.path: info.size for info in hub.paths(at=revisions[newest.round_index])}
    return Published(
        revisions=revisions,
        moments={index: hub.published(revisions[index]) for index in dated},
        base_bytes=sum(files.get(path, 0) for path in newest.output),
    )


def _short(address: str) -> str:
    """`lab/fed` of a repo's address, the folder's name of a local store's."""
    parts = address.rstrip("/").split("/")
    return "/".join(parts[-2:] if "://" in address else parts[-1:])
