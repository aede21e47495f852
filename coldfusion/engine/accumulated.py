"""The file of an accumulator: what it holds, and whether it belongs to a base.

safetensors. "sum.NAME" of every tensor of the body is I64 [2, elements]: the limbs of a `wholesums` sum,
multiples of 2^-22 first. "members" is JSON: who is in the sum, with which weight. Without members there are
no limbs, and nothing but zeros is meant. The same base and members give the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coldfusion.checkpoint import Checkpoint
from coldfusion.dtypes import Array
from coldfusion.engine.spans import Span
from coldfusion.errors import ConfigError
from coldfusion.exact.wholesums import MOST
from coldfusion.jsonrecords import from_json, to_json
from coldfusion.tensorfile import TensorFile, TensorInfo
from coldfusion.tensorwriter import TensorWriter

MEMBERS, FORMAT = "members", "coldfusion accumulator 1"
_PIECES, _PIECE = 4, 256  # of each tensor, by which a base is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A contribution that is in the sum."""

    weight: int
    brings_values: bool  # it counts with its finetuned values; otherwise with its delta
    checksum: str  # of its terms: nothing else can be taken out in its name


@dataclass(frozen=True, slots=True)
class Members:
    """Everybody who is in the sum, by key."""

    members: dict[str, Member]

    def __post_init__(self) -> None:
        for key, member in self.members.items():
            if type(member.weight) is not int or member.weight < 1:
                raise ConfigError(f"{key}: weight {member.weight!r}; give a whole number from 1")
        if (total := sum(member.weight for member in self.members.values())) > MOST:
            raise ConfigError(
                f"weights sum to {total:,}, at most {MOST:,} is summed exactly: scale them down"
            )


class Accumulated:
    """An accumulator file as it was when it was opened. Raises ConfigError where it is of another base."""

    def __init__(self, path: Path, base: Checkpoint, base_id: str) -> None:
        try:
            self._file = TensorFile(path)
        except FileNotFoundError as exc:
            raise ConfigError(f"{path}: no accumulator there; create one first") from exc
        try:
            self.members = self._checked(base, base_id)
        except BaseException:
            self._file.close()
            raise

    def _checked(self, base: Checkpoint, base_id: str) -> dict[str, Member]:
        path, metadata = self._file.path, self._file.metadata
        if metadata.get("format") != FORMAT:
            raise ConfigError(f"{path}: not an accumulator of this version ({FORMAT})")
        if metadata.get("base") != base_id:
            raise ConfigError(f"{path}: sums over base {metadata.get('base')!r:.24}, this is {base_id!r:.24}")
        text = self._file.read(MEMBERS).tobytes()
        members = from_json(Members, text, source=str(path)).members
        if sorted(self._file.tensors.values(), key=str) != sorted(_layout(base, members, len(text)), key=str):
            raise ConfigError(f"{path}: its tensors are not those of the base; create it anew")
        return members

    def read_into(self, span: Span, limbs: Array) -> None:
        """Put the limbs of a span into `limbs` (2, t) int64."""
        if not self.members:
            limbs[...] = 0
            return
        for which, row in enumerate(limbs):
            self._file.read_into(f"sum.{span.info.name}", which * span.info.count + span.start, row)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Accumulated:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AccumulatedWriter:
    """The next version of an accumulator file: in place of the old one when it is whole, or never."""

    def __init__(self, path: Path, base: Checkpoint, base_id: str, members: Mapping[str, Member]) -> None:
        text = to_json(Members(dict(members)))
        self._empty = not members
        self._size = len(text)
        metadata = {"format": FORMAT, "base": base_id}
        self._writer = TensorWriter(path, _layout(base, members, self._size), metadata)

    def write(self, span: Span, limbs: Array) -> None:
        """Put down the limbs of a span, (2, t) int64."""
        for which, row in enumerate(limbs):
            if not self._empty:
                self._writer.write(f"sum.{span.info.name}", which * span.info.count + span.start, row)

    def write_members(self, members: Mapping[str, Member]) -> None:
        """Put down who is in: the members it was made for, whose checksums may have become known since."""
        text = np.frombuffer(to_json(Members(dict(members))), np.uint8)
        if len(text) != self._size:
            raise ValueError("the members are not those that this file was laid out for")
        self._writer.write(MEMBERS, 0, text)

    def __enter__(self) -> AccumulatedWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self._writer.__exit__(*exc)  # type: ignore[arg-type]


def _layout(base: Checkpoint, members: Mapping[str, Member], size: int) -> list[TensorInfo]:
    body = sorted(base.body.values(), key=lambda info: info.name) if members else []
    limbs = [TensorInfo(f"sum.{info.name}", "I64", (2, info.count)) for info in body]
    return [*limbs, TensorInfo(MEMBERS, "U8", (size,))]


def identity_of(base: Checkpoint) -> str:
    """What a base is known by where it has no better name: its tensors, and 1,024 numbers of each of them.

    Training changes every tensor all over, so bases that differ are told apart without reading them whole.
    """
    digest = hashlib.sha256()
    for name, info in sorted(base.body.items()):
        digest.update(f"{name}\0{info.dtype}\0{info.shape}\0".encode())
        if info.count <= _PIECES * _PIECE:
            starts, size = [0], info.count
        else:
            starts, size = [k * (info.count - _PIECE) // (_PIECES - 1) for k in range(_PIECES)], _PIECE
        for start in starts:
            digest.update(base.read(name, start, start + size).tobytes())
    return digest.hexdigest()
