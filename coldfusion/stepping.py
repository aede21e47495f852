"""A round's step: planned from the policy, the cohort and the round before; taken from files into files.

What is planned goes into the record, and what a record says can be planned again, so that whoever checks a
round takes the very same step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coldfusion.checkpoint import Checkpoint
from coldfusion.engine.crews import Threads
from coldfusion.engine.fusing import Rule, fuse_cohort
from coldfusion.engine.measuring import measure_cohort
from coldfusion.engine.sources import Cohort, DeltaSource
from coldfusion.errors import NotOnHub, RoundError
from coldfusion.federation import State
from coldfusion.fusers import fuser_named, make_options
from coldfusion.hub import Hub
from coldfusion.layout import outer_path
from coldfusion.outer import OuterStep, make_outer_options, outer_named
from coldfusion.places import sha256_of
from coldfusion.records import Fusing, Manifest, RoundRecord
from coldfusion.seeds import seed_for
from coldfusion.stats import RoundStats
from coldfusion.weighting import weighting_named


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """Everything that decides the bytes of a new base, but for the base and the deltas."""

    fusing: Fusing
    weights: tuple[float, ...]  # (n,), in the order of the cohort
    previous: Path | None  # the outer optimiser's state of the round before; None: it begins here
    notes: tuple[str, ...] = ()  # what people should know about it


def measure(base: Checkpoint, sources: Sequence[DeltaSource], fuser: str) -> RoundStats:
    """One pass over a round's deltas: what the screens and the fuser called so want to know."""
    needs = fuser_named(fuser).needs
    return measure_cohort(Cohort(base, tuple(sources)), Threads(), by_tensor="gram" in needs)


def plan_step(hub: Hub, state: State, cohort: Sequence[Manifest]) -> PlannedStep:
    """The step of a federation's open round. Raises RoundError where the outer state is not as recorded."""
    policy, seed = state.policy, round_seed(state.record)
    previous, notes = outer_before(hub, state)
    digest = state.record.output[outer_path(state.record.round_index)] if previous else None
    return PlannedStep(
        fusing=policy.fusing(seed=seed, outer_state=digest),
        weights=tuple(relative(weighting_named(policy.weights)(cohort, policy.max_examples))),
        previous=previous,
        notes=notes,
    )


def take_step(
    step: PlannedStep,
    base: Checkpoint,
    sources: Sequence[DeltaSource],
    *,
    stats: RoundStats | None,
    into: Path,
    state_into: Path,
) -> None:
    """Write the weight files of the new base into the directory `into`, and the outer state if there is one.

    sources: in the order of the step's weights. Raises StorageError when the disk refuses.
    """
    fuser, optimiser = fuser_named(step.fusing.fuser), outer_named(step.fusing.outer)
    options = make_outer_options(optimiser, step.fusing.outer_lr, step.fusing.outer_options)
    cohort = Cohort(base, tuple(sources))
    weights = dict(zip((source.key for source in sources), step.weights, strict=True))
    rule = Rule(
        fuser=fuser,
        options=make_options(fuser, step.fusing.fuser_options),
        weights=tuple(weights[key] for key in cohort.keys),
        seed=step.fusing.seed,
        outer_lr=options.lr,
        outer=OuterStep(optimiser, options, step.previous, state_into) if optimiser.slots else None,
    )
    fuse_cohort(cohort, rule, into, stats=stats.of(cohort.keys) if stats else None)


def round_seed(before: RoundRecord) -> int:
    """The seed of the round that follows a record: of its number and of the weights that it starts from.

    Not of their revision, which depends on the clock: the same federation run again draws the same masks.
    """
    weights = (f"{path} {digest}" for path, digest in sorted(before.output.items()))
    return seed_for("round", before.round_index + 1, *weights)


def relative(weights: Sequence[float]) -> list[float]:
    """The weights scaled to a mean of 1, so that a fuser which sums sums no more than with uniform ones."""
    total = math.fsum(weights)
    return [len(weights) * weight / total for weight in weights]


def outer_before(hub: Hub, state: State) -> tuple[Path | None, tuple[str, ...]]:
    """(the state that the outer optimiser goes on from, notes for the record).

    It goes on where the round before had the same optimiser; other options of it only change how it goes on.
    After another optimiser it begins afresh, and a note says so. Raises RoundError where the state is gone or
    is not the one that was published: whoever recomputes the round could not come to the same base.
    """
    index, before, optimiser = state.record.round_index, state.record.fusing, outer_named(state.policy.outer)
    path = outer_path(index)
    if before is None:
        return None, ()
    if before.outer != optimiser.name:
        change = f"outer optimiser changed from {before.outer} to {optimiser.name}"
        return None, (f"{change}, which begins without what round {index} left",)
    if not optimiser.slots:
        return None, ()
    try:
        file = hub.fetch(path, at=state.base)
    except NotOnHub as exc:
        raise RoundError(f"{path}: not there at {state.base[:12]}; {_way_out(optimiser.name)}") from exc
    if (found := sha256_of(file)) != state.record.output.get(path):
        raise RoundError(f"{path}: sha256 {found[:12]} is not the record's; {_way_out(optimiser.name)}")
    return file, ()


def _way_out(name: str) -> str:
    return f"put back what was published, or leave the state of {name} behind with a round of outer: sgd"
