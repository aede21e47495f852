"""A contributor's turn in a round: fine-tune from the base, take the delta, submit it. Only that leaves."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from coldfusion.admission import contribution_paths
from coldfusion.checkpoint import Checkpoint
from coldfusion.deltas import write_delta
from coldfusion.errors import writing
from coldfusion.hub import Hub, Proposal
from coldfusion.jsonrecords import to_json
from coldfusion.outlook import addressed_to
from coldfusion.places import sha256_of
from coldfusion.records import DELTA, MANIFEST, Manifest, Revision, is_name_of
from contributors.config import TrainingConfig
from contributors.data import Examples, load_examples
from contributors.finetuning import finetune
from contributors.models import tensor_reader
from contributors.reporting import Report
from hub_sync.address import open_hub


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Everything that a worker needs to know to contribute once."""

    contributor: str
    hub: str  # address
    round_index: int
    base: Revision
    data: str  # see contributors.data.load_examples
    training: TrainingConfig
    codec: str
    seed: int
    shuffles: bool = False  # its labels: what somebody does who wants to do harm


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A contribution that is ready to be submitted, and how it came to be."""

    manifest: Manifest
    files: Mapping[str, Path]  # path on the Hub -> file here: the delta and the manifest
    num_passes: int  # examples trained on, epochs counted
    training: tuple[float, float]  # when Trainer.train began and ended, seconds since the epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What came of a turn."""

    contributor: str
    proposal: int
    num_examples: int
    num_passes: int  # examples trained on, epochs counted
    training: tuple[float, float]  # when Trainer.train began and ended, seconds since the epoch
    delta_bytes: int


def contribute(base: Path, turn: Turn, report: Report) -> Submission:
    """Take a turn, starting from the checkpoint directory `base`, and open the pull request."""
    examples = load_examples(turn.data)
    if turn.shuffles:
        examples = examples.with_shuffled_labels(seed=turn.seed)
    with tempfile.TemporaryDirectory(prefix="coldfusion-") as scratch:
        offer = prepare(base, turn, examples, into=Path(scratch), report=report)
        hub = open_hub(turn.hub, author=turn.contributor)
        proposal = submit(hub, offer.manifest, offer.files)
    return Submission(
        contributor=turn.contributor,
        proposal=proposal.number,
        num_examples=offer.manifest.num_examples,
        num_passes=offer.num_passes,
        training=offer.training,
        delta_bytes=offer.manifest.size,
    )


def prepare(base: Path, turn: Turn, examples: Examples, *, into: Path, report: Report) -> Offer:
    """Fine-tune from the checkpoint directory `base`; delta and manifest go into the directory `into`."""
    finetuned = finetune(base, examples, turn.training, seed=turn.seed, report=report)
    ended = time.time()
    delta, description = into / DELTA, into / MANIFEST
    with Checkpoint(base) as checkpoint:
        write_delta(checkpoint, tensor_reader(finetuned.classifier.body), delta, codec=turn.codec)
    manifest = Manifest(
        contributor=turn.contributor,
        round_index=turn.round_index,
        base=turn.base,
        codec=turn.codec,
        num_examples=finetuned.num_examples,
        size=delta.stat().st_size,
        sha256=sha256_of(delta),
    )
    with writing(description):
        description.write_bytes(to_json(manifest))
    return Offer(
        manifest=manifest,
        files=dict(zip(contribution_paths(turn.contributor), (delta, description), strict=True)),
        num_passes=finetuned.num_passes,
        training=(ended - finetuned.seconds, ended),
    )


def submit(hub: Hub, manifest: Manifest, files: Mapping[str, Path]) -> Proposal:
    """Open the pull request that carries this contribution, exactly once.

    Safe to repeat: the title names the contribution, so one whose reply was lost is found again.
    """
    already = [proposal for proposal in hub.proposals() if proposal.title == manifest.title]
    if already:
        return already[0]
    return hub.propose(files, title=manifest.title, message=manifest.message, parent=manifest.base)


def submitted(hub: Hub, round_index: int) -> set[str]:
    """The contributors that have an open pull request of their own account for a round, by its title."""
    ours = addressed_to(round_index, hub.proposals())
    return {name for proposal, name in ours if is_name_of(name, proposal.author)}
