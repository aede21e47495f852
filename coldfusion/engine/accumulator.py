"""A running sum of contributions on disk: each is taken in once, and can be taken out again to the last bit.

The file is never changed in place. A change writes a new one beside it and renames that over the old one, so
whoever is killed in the middle leaves what was there before; a lock keeps a second process out. A change
costs one pass over the file and one contribution, and so does the fused base without one of the members.
(Unlearning by keeping sums instead of models: cf. Cao and Yang 2015, "summation form".)
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from coldfusion.checkpoint import Checkpoint
from coldfusion.checkpointwriter import CheckpointWriter
from coldfusion.dtypes import Array
from coldfusion.engine.accumulated import Accumulated, AccumulatedWriter, Member, identity_of
from coldfusion.engine.crews import Crew, Threads
from coldfusion.engine.sources import BaseSpan, Cohort, Source
from coldfusion.engine.spans import Span, groups_of
from coldfusion.engine.summing import scaled
from coldfusion.errors import ConfigError, StorageError, TensorMismatch, writing
from coldfusion.exact.scratch import scratch
from coldfusion.exact.wholesums import WholeSum, limbs_of
from coldfusion.fusers.family import Coefficients
from coldfusion.fusers.linear import total_of

Checksum = tuple[int, int]
"""Of one span of what a contribution brings: the sum of each of its two limbs, modulo 2^64."""
Checksums = dict[tuple[str, int], Checksum]
"""(tensor, start of a span) -> its checksum."""

_UNKNOWN = "0" * 64  # stands for a checksum until the pass is over that finds it out


class Accumulator:
    """sum_i w_i x_i over the body of a base, w_i whole numbers, x_i what each contribution brings.

    base_id: the base's name, its revision for example; None: `identity_of`. What `fused` writes is what
    `fuse_cohort` writes with the rule "mean" for the same contributions and weights, to the last byte,
    whatever was taken in and out before, in whatever order. All methods read the file anew, so several
    processes can share one. Raises ConfigError for what cannot be asked, TensorMismatch where a contribution
    does not fit, StorageError when the disk refuses or another process is changing the file.
    """

    def __init__(self, path: Path, base: Checkpoint, base_id: str | None) -> None:
        self.path, self.base = path, base
        self.base_id = base_id or identity_of(base)

    @classmethod
    def create(cls, path: Path, base: Checkpoint, base_id: str | None = None) -> Accumulator:
        """A new one, with nobody in it."""
        made = cls(path, base, base_id)
        with made._alone():
            if path.exists():
                raise ConfigError(f"{path}: is there already; open it, or delete it yourself")
            with AccumulatedWriter(path, base, made.base_id, {}) as out:
                out.write_members({})
        return made

    @classmethod
    def open(cls, path: Path, base: Checkpoint, base_id: str | None = None) -> Accumulator:
        """The one at `path`, which must be of this base."""
        found = cls(path, base, base_id)
        with found._read():
            return found

    @property
    def members(self) -> dict[str, Member]:
        """Who is in, by key."""
        with self._read() as before:
            return before.members

    def add(self, source: Source, weight: int = 1, *, crew: Crew | None = None) -> None:
        """Take a contribution in, counting `weight` times."""
        with self._alone(), self._read() as before:
            if source.key in before.members:
                raise ConfigError(f"{self.path}: {source.key} is in the sum already; take it out first")
            member = Member(weight=weight, brings_values=source.brings_values, checksum=_UNKNOWN)
            after = before.members | {source.key: member}
            work = _Work(before, Cohort(self.base, (source,)), weight)
            with self._writer(after) as out:
                checksum = _digest((crew or Threads()).run(partial(_change_spans, work, out), self._groups()))
                out.write_members(after | {source.key: replace(member, checksum=checksum)})

    def remove(self, source: Source, *, crew: Crew | None = None) -> None:
        """Take a contribution out again. Raises TensorMismatch where it is not what was taken in."""
        with self._alone(), self._read() as before:
            member = _member(source, before.members, self.path)
            after = _without(source, before.members)
            work = _Work(before, Cohort(self.base, (source,)), -member.weight)
            with self._writer(after) as out:
                checksum = _digest((crew or Threads()).run(partial(_change_spans, work, out), self._groups()))
                _require(member, checksum, source)
                out.write_members(after)

    def fused(self, into: Path, *, outer_lr: float = 1.0, crew: Crew | None = None) -> None:
        """Write base + outer_lr * sum_i w_i d_i / sum_i w_i into the directory `into`."""
        with self._read() as before:
            job = self._fusing(_Work(before, Cohort(self.base, ()), 0), before.members, outer_lr)
            with CheckpointWriter(self.base, into) as out:
                deque((crew or Threads()).run(partial(_fuse_spans, job, out), _pieces(self.base)), maxlen=0)

    def without(self, source: Source, into: Path, *, outer_lr: float = 1.0, crew: Crew | None = None) -> None:
        """Write what `fused` would without one of the members. The accumulator stays as it is.

        Raises TensorMismatch where the source is not what was taken in.
        """
        with self._read() as before:
            member = _member(source, before.members, self.path)
            work = _Work(before, Cohort(self.base, (source,)), -member.weight)
            job = self._fusing(work, _without(source, before.members), outer_lr)
            with CheckpointWriter(self.base, into) as out:
                run = (crew or Threads()).run(partial(_fuse_spans, job, out), _pieces(self.base))
                _require(member, _digest(run), source)

    def _fusing(self, work: _Work, members: Mapping[str, Member], outer_lr: float) -> _Fusing:
        if not members:
            raise ConfigError(f"{self.path}: nobody is left in the sum; there is nothing to fuse")
        weights = [member.weight for member in members.values()]
        numerators = np.array(weights, np.float64)
        coefficients = Coefficients(numerators, divisor=total_of(numerators))
        brings_values = tuple(member.brings_values for member in members.values())
        return _Fusing(work, math.gcd(*weights), coefficients, brings_values, outer_lr)

    def _writer(self, members: Mapping[str, Member]) -> AccumulatedWriter:
        return AccumulatedWriter(self.path, self.base, self.base_id, members)

    def _groups(self) -> Iterator[tuple[Span, ...]]:
        return groups_of(info for _, info in sorted(self.base.body.items()))

    def _read(self) -> Accumulated:
        return Accumulated(self.path, self.base, self.base_id)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from changing the file; a killed one holds nothing back, and leaves scraps."""
        with writing(self.path):
            lock = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o644)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise StorageError(f"{self.path}: another process is changing it; try again later") from exc
            for scrap in self.path.parent.glob(f".{glob.escape(self.path.name)}.*.partial"):
                scrap.unlink()
            yield
        finally:
            os.close(lock)


@dataclass(frozen=True, slots=True)
class _Work:
    """A pass over an accumulator, in which one contribution is counted, taken out, or none is touched."""

    before: Accumulated
    cohort: Cohort  # of that one contribution, or of nobody
    times: int

    def limbs(self, span: Span, base: BaseSpan) -> tuple[Array, Checksum]:
        """(the limbs of a span (2, t) after it, the checksum of the contribution's terms)."""
        limbs = scratch("accumulated", (2, span.count), np.int64)
        self.before.read_into(span, limbs)
        checksum = (0, 0)
        for source in self.cohort.sources:
            terms = scratch("accumulated term", span.count, self.cohort.working(span))
            source.read(span, base, terms)
            try:
                high, low = limbs_of(terms)
            except TensorMismatch as exc:
                raise TensorMismatch(f"{source.key}: {span.info.name} {exc}") from exc
            checksum = (int(high.sum()) % 2**64, int(low.sum()) % 2**64)
            WholeSum(*limbs).add_limbs(high, low, self.times)
        return limbs, checksum


def _change_spans(work: _Work, out: AccumulatedWriter, spans: tuple[Span, ...]) -> Checksums:
    found = {}
    for span in spans:
        base = work.cohort.base_span(span)
        limbs, found[span.info.name, span.start] = work.limbs(span, base)
        out.write(span, limbs)
    return found


@dataclass(frozen=True, slots=True)
class _Fusing:
    """What a worker needs to write spans of the fused base."""

    work: _Work
    unit: int  # divides every weight
    coefficients: Coefficients
    brings_values: tuple[bool, ...]
    outer_lr: float

    def fused(self, span: Span) -> tuple[Array, Checksum]:
        """(base + outer_lr * fused delta of a span in storage dtype, the checksum of who is left out)."""
        base = self.work.cohort.base_span(span)
        limbs, checksum = self.work.limbs(span, base)
        total = WholeSum(*limbs).total(self.unit)
        found = scaled(total, float(self.unit), self.coefficients, self.brings_values)
        try:
            return found.stored(base, self.outer_lr, span.info.dtype), checksum
        except TensorMismatch as exc:
            raise TensorMismatch(f"{span.info.name} {exc}") from exc


def _fuse_spans(job: _Fusing, out: CheckpointWriter, piece: tuple[str, tuple[Span, ...]]) -> Checksums:
    (shard, spans), found = piece, {}
    for span in spans:
        name, start = span.info.name, span.start
        if span.info.is_float:
            values, found[name, start] = job.fused(span)
        else:
            values = job.work.cohort.base.read(name, start, span.stop)
        out.write(shard, name, start, values)
    return found


def _pieces(base: Checkpoint) -> Iterator[tuple[str, tuple[Span, ...]]]:
    for name, shard in base.shards.items():
        for group in groups_of(shard.tensors.values()):
            yield name, group


def _digest(found: Iterable[Checksums]) -> str:
    """One digest of the checksums of all spans, in whatever order the spans came."""
    together = {where: checksum for some in found for where, checksum in some.items()}
    return hashlib.sha256(json.dumps(sorted(together.items())).encode()).hexdigest()


def _member(source: Source, members: Mapping[str, Member], path: Path) -> Member:
    if source.key not in members:
        raise ConfigError(f"{path}: {source.key} is not in the sum; in it: {', '.join(members) or 'nobody'}")
    return members[source.key]


def _without(source: Source, members: Mapping[str, Member]) -> dict[str, Member]:
    return {key: member for key, member in members.items() if key != source.key}


def _require(member: Member, checksum: str, source: Source) -> None:
    if member.checksum != checksum:
        raise TensorMismatch(f"{source.key}: is not what was added to the sum under this name")
