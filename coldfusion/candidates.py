"""What could be published: the base with a cohort fused into it, and the same with one contribution less."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coldfusion.checkpoint import Checkpoint, weight_files
from coldfusion.codecs import codec_named
from coldfusion.engine.accumulator import Accumulator
from coldfusion.engine.sources import DeltaSource
from coldfusion.errors import writing
from coldfusion.exact.wholesums import MOST
from coldfusion.federation import State
from coldfusion.gating import Candidate
from coldfusion.hub import Hub, materialise
from coldfusion.records import Contribution, Fusing
from coldfusion.stats import RoundStats
from coldfusion.stepping import plan_step, take_step
from coldfusion.tensorfile import TensorFile
from coldfusion.weighting import weighting_named


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Makes the candidates of one round, each in the place of the one before it."""

    hub: Hub
    state: State
    base: Checkpoint  # laid out in `workdir` / "base"
    files: Mapping[Contribution, TensorFile]  # the delta of every contribution that was screened
    stats: RoundStats
    workdir: Path

    def fuse(self, cohort: Sequence[Contribution], name: str = "candidate") -> Candidate:
        """The candidate of a cohort, in `workdir` / name: everything of the base with other weights."""
        step = plan_step(self.hub, self.state, [c.manifest for c in cohort])
        room, outer = self._room(name), self.workdir / f"{name}-outer.safetensors"
        with writing(outer):
            outer.unlink(missing_ok=True)
        sources = [self.source(c) for c in cohort]
        take_step(step, self.base, sources, stats=self.stats, into=room, state_into=outer)
        return Candidate(cohort=tuple(cohort), step=step, directory=room, outer=outer)

    def without_each(self, candidate: Candidate) -> Iterator[tuple[Contribution, Path]]:
        """Every contribution of a candidate and the base without it, a checkpoint that the next one replaces.

        The same bytes as a fusion of the others, or where weights differ the same to an ulp of the delta.
        Where the rule is a mean, each is taken out of the sum of all, which costs one pass over the model
        instead of one over every delta. Raises ConfigError where the rule cannot work with one less.
        """
        cohort = candidate.cohort
        weights = weighting_named(self.state.policy.weights)(
            [c.manifest for c in cohort], self.state.policy.max_examples
        )
        if len(cohort) == 1:
            yield cohort[0], self.workdir / "base"
        elif is_a_mean(candidate.step.fusing) and sum(weights) <= MOST:
            yield from self._taken_out(cohort, [int(weight) for weight in weights], candidate)
        else:
            for one in cohort:
                yield one, self.fuse([c for c in cohort if c is not one], "without").directory

    def source(self, contribution: Contribution) -> DeltaSource:
        """The delta of a contribution, as the engine reads it."""
        return source_of(contribution, self.files[contribution])

    def _taken_out(
        self, cohort: Sequence[Contribution], weights: Sequence[int], candidate: Candidate
    ) -> Iterator[tuple[Contribution, Path]]:
        path = self.workdir / "sum"
        path.unlink(missing_ok=True)
        everybody = Accumulator.create(path, self.base, self.state.base)
        for contribution, weight in zip(cohort, weights, strict=True):
            everybody.add(self.source(contribution), weight)
        for contribution in cohort:
            room = self._room("without")
            everybody.without(self.source(contribution), room, outer_lr=candidate.step.fusing.outer_lr)
            yield contribution, room
        path.unlink()

    def _room(self, name: str) -> Path:
        """A checkpoint directory with everything of the base but its weights."""
        room = self.workdir / name
        with writing(room):
            shutil.rmtree(room, ignore_errors=True)
            room.mkdir()
            materialise(self.hub, self.state.base, room)
            for file in weight_files(room):
                (room / file).unlink()
        return room


def source_of(contribution: Contribution, file: TensorFile) -> DeltaSource:
    """A contribution whose delta file is open, as the engine reads it."""
    manifest = contribution.manifest
    return DeltaSource(manifest.contributor, file, codec_named(manifest.codec))


def is_a_mean(fusing: Fusing) -> bool:
    """Whether a round's step is a mean times a learning rate: plain ColD Fusion."""
    return fusing.fuser == "mean" and fusing.outer == "sgd"
