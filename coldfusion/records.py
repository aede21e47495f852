"""The records that flow through a round. Each checks itself when made: one in hand is one that holds."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import NewType

from coldfusion.codecs import CODECS
from coldfusion.errors import ManifestError
from coldfusion.metrics import METRICS

PROTOCOL = 1
"""Version of the manifest, the record and the policy. Another number is refused, not guessed at."""

DELTA, MANIFEST = "delta.safetensors", "manifest.json"
"""The two files of a contribution, wherever they lie."""

Revision = NewType("Revision", str)
"""The full 40 hexadecimal digits of a commit."""

Option = bool | int | float | str | None
"""A value of a fuser's or an outer optimiser's option."""

MAX_REASONS, MAX_REASON = 5, 300
MOST_COMPARED = 64

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TITLE = re.compile(rf"round (\d{{1,9}}): ({_NAME.pattern}) \[[0-9a-f]{{12}}\]")


def is_revision(text: str) -> bool:
    """Whether `text` is a full-length revision, the only kind that pins anything."""
    return _REVISION.fullmatch(text) is not None


def is_contributor_name(text: str) -> bool:
    """Whether `text` can name a contributor: it becomes part of a path on the Hub."""
    return _NAME.fullmatch(text) is not None


def is_name_of(contributor: str, account: str) -> bool:
    """Whether an account may contribute under a name: its own, or `account--anything` for one more data set.

    No account on the Hub has two dashes in a row in its name, so nobody can take another's.
    """
    return contributor == account or contributor.startswith(f"{account}--")


def parse_title(title: str) -> tuple[int, str] | None:
    """(round, contributor) of a pull request that is titled like a contribution, else None."""
    found = _TITLE.fullmatch(title)
    return (int(found[1]), found[2]) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a contributor says about one contribution; the JSON beside its delta."""

    contributor: str
    round_index: int  # the round that it is meant for; its base was published by the round before
    base: Revision  # the revision that the delta was computed from
    codec: str
    num_examples: int  # training examples, each counted once
    size: int  # of the delta file, bytes
    sha256: str  # of the delta file, hex
    protocol: int = PROTOCOL

    def __post_init__(self) -> None:
        checks = {
            f"protocol {self.protocol} is not {PROTOCOL}": self.protocol == PROTOCOL,
            f"contributor {self.contributor!r} is not a name": is_contributor_name(self.contributor),
            f"round_index {self.round_index} is not above 0": self.round_index > 0,
            f"base {self.base!r} is not a full revision": is_revision(self.base),
            f"codec {self.codec!r} is not known": self.codec in CODECS,
            f"num_examples {self.num_examples} is not above 0": self.num_examples > 0,
            f"size {self.size} is not above 0": self.size > 0,
            f"sha256 {self.sha256!r} is not one": _SHA256.fullmatch(self.sha256) is not None,
        }
        if wrong := [reason for reason, holds in checks.items() if not holds]:
            raise ManifestError("; ".join(wrong))

    @property
    def title(self) -> str:
        """Of the pull request. It names the contribution, so that one whose reply was lost is found again."""
        return f"round {self.round_index}: {self.contributor} [{self.sha256[:12]}]"

    @property
    def message(self) -> str:
        """Of the pull request, below its title."""
        return f"{self.contributor} contributes to round {self.round_index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """A manifest and where it lies: the pull request and the revision at which it was pinned."""

    manifest: Manifest
    proposal: int
    revision: Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome for one contribution: accepted, or refused with every reason."""

    contributor: str
    proposal: int | None = None  # None where nothing was submitted: the contributor failed before
    revision: Revision | None = None  # of the pull request, as it was pinned
    reasons: tuple[str, ...] = ()  # at most MAX_REASONS of at most MAX_REASON characters

    def __post_init__(self) -> None:
        # They quote what a stranger sent, and go into the record that everybody reads and into a comment.
        reasons = [
            reason if len(reason) <= MAX_REASON else reason[: MAX_REASON - 1] + "…" for reason in self.reasons
        ]
        if len(reasons) > MAX_REASONS:
            reasons[MAX_REASONS - 1 :] = [f"and {len(reasons) - MAX_REASONS + 1} more reasons"]
        object.__setattr__(self, "reasons", tuple(reasons))

    @property
    def accepted(self) -> bool:
        return not self.reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScore:
    """One score of one base on one task."""

    task: str
    held_out: bool  # nobody ever contributes this task
    protocol: str  # "probe", "head", "few-shot", "fine-tune" or "lm-eval"
    seed: int
    score: float  # in the metric's unit
    num_examples: int  # of the test split
    metric: str = "accuracy"

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ManifestError(f"{self.task}: metric {self.metric!r} is not known: upgrade coldfusion")
        metric = METRICS[self.metric]
        most = 100.0 if metric.unit == "points" else math.inf
        if not metric.least <= self.score <= most:
            bounds = f"{metric.least:g} to {most:g} {metric.unit}"
            raise ManifestError(f"{self.task}: {self.metric} {self.score} is not within {bounds}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Mean difference to another base over a group of tasks, paired per task, seed and example."""

    protocol: str
    held_out: bool
    mean: float  # above 0: better
    low: float  # 95 % bootstrap interval
    high: float
    num_tasks: int
    against: str = "pretrained"  # or "previous", or what an evaluation calls the other base
    unit: str = "points"  # or "nats", of a loss
    num_worse: int = 0  # tasks that are below the other base
    worst: str | None = None  # the task with the smallest gain
    worst_gain: float = 0.0
    worst_high: float = 0.0  # the upper end of that one's 95 % interval, over its examples

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Every score of one base, and its gains on others: on the pretrained model, on the base before."""

    scores: tuple[TaskScore, ...] = ()
    gains: tuple[Gain, ...] = ()
    pretrained: tuple[TaskScore, ...] = ()  # of the pretrained model, where the gains on it come from

    def mean_score(self, protocol: str, *, held_out: bool) -> float:
        """Mean in points over a group of tasks and seeds; NaN where the group is empty."""
        group = [s for s in self.scores if (s.protocol, s.held_out) == (protocol, held_out)]
        found = [s.score for s in group if METRICS[s.metric].unit == "points"]
        return sum(found) / len(found) if found else math.nan

    def gain(
        self, protocol: str, *, held_out: bool, against: str = "pretrained", unit: str = "points"
    ) -> Gain | None:
        wanted = (protocol, held_out, against, unit)
        return next((g for g in self.gains if (g.protocol, g.held_out, g.against, g.unit) == wanted), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One contribution in a round's record."""

    contributor: str
    proposal: int | None
    revision: Revision | None
    sha256: str | None
    codec: str | None
    num_examples: int | None
    size: int | None  # of the delta file, bytes
    weight: float  # that the fuser was given, 1 on average; 0 where refused
    norm: float | None  # L2 norm of the delta, in parameter units, 6 significant digits
    reasons: tuple[str, ...]

    @property
    def accepted(self) -> bool:
        return not self.reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusing:
    """How a round's deltas became a step: with its entries and its parent, enough to take it again.

    Every option is spelt out, also where the policy leaves it at its default.
    """

    fuser: str
    fuser_options: dict[str, Option]
    weights: str  # the rule that gave the entries their weights
    max_examples: int  # the cap of that rule
    seed: int  # what random masks are drawn from
    outer: str  # the outer optimiser
    outer_lr: float
    outer_options: dict[str, Option]  # without the learning rate
    outer_state: str | None = None  # sha256 of its state that this round went on from; None: it began here


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A candidate that was judged before it could be published."""

    without: tuple[str, ...]  # contributors of the cohort that were left out
    gain: Gain  # on the base before, on validation splits
    reasons: tuple[str, ...]  # why it was not published; none where it was


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGain:
    """A gain on one task, points, with its 95 % bootstrap interval over the task's examples."""

    task: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What one contribution was worth to the base that it went into, on held-out tasks' validation splits."""

    contributor: str
    gain: Gain | None = None  # of the published base on the same one without it; None: it was not left out
    tasks: tuple[TaskGain, ...] = ()  # the same, task by task
    estimate: float | None = None  # first order, nats of the validation loss that it took away


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """Cosines of a round's deltas, rounded to 4 digits; of the first MOST_COMPARED contributors by name."""

    contributors: tuple[str, ...] = ()
    rows: tuple[tuple[float, ...], ...] = ()  # row i: with each of the i contributors before


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """What went in, what came out and why: enough to recompute the published base, bit for bit."""

    round_index: int
    parent: Revision | None  # the base that the contributions started from; None for the pretrained model
    fusing: Fusing | None  # None for the pretrained model
    entries: tuple[Entry, ...] = ()
    output: dict[str, str] = field(default_factory=dict)  # weights and outer state: path -> sha256, hex
    notes: tuple[str, ...] = ()  # what people should know about this round
    evaluation: Evaluation = Evaluation()
    trials: tuple[Trial, ...] = ()  # at the gate, in order
    worths: tuple[Worth, ...] = ()  # of the cohort, by contributor
    similarity: Similarity = Similarity()
    pretrained: str | None = None  # the name on the Hub of the model that the federation started from
    protocol: int = PROTOCOL

    def __post_init__(self) -> None:
        if self.protocol != PROTOCOL:
            raise ManifestError(f"record of protocol {self.protocol}, this is {PROTOCOL}: upgrade coldfusion")

    @property
    def num_accepted(self) -> int:
        return sum(entry.accepted for entry in self.entries)
