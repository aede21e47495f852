"""What is fused: checkpoints, sharded or not, and encoded deltas, read range by range as one kind of thing.

A source brings either finetuned values or deltas. A weighted sum is taken over what they bring, which for
values needs no subtraction; everything else works on deltas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np

from coldfusion.checkpoint import Checkpoint
from coldfusion.codecs import Codec
from coldfusion.dtypes import STORAGE, Array, widen_into, working
from coldfusion.engine.spans import Span
from coldfusion.errors import ConfigError, TensorMismatch
from coldfusion.exact.scratch import scratch
from coldfusion.native import kernels
from coldfusion.native.kernels import Stretch
from coldfusion.tensorfile import TensorFile, TensorInfo

Mismatch = Literal["refuse", "base", "rows"]


class Tensors(Protocol):
    """Named tensors that are read by range: a checkpoint, or one file."""

    @property
    def tensors(self) -> Mapping[str, TensorInfo]: ...

    def read_into(self, name: str, start: int, out: Array) -> None: ...


class Source(Protocol):
    """One contribution to a fusion. `key` names it: cohorts are sorted by it, random masks drawn by it."""

    @property
    def key(self) -> str: ...

    @property
    def brings_values(self) -> bool:
        """Whether `read` gives finetuned values, not deltas."""
        ...

    def check(self, base: Mapping[str, TensorInfo]) -> None:
        """Raise TensorMismatch where this does not fit a base with these tensors."""
        ...

    @property
    def fisher(self) -> TensorFile | None:
        """The Fisher diagonal that it ships, F32 under the base's names; None: it ships none."""
        ...

    def dtype_of(self, name: str) -> str:
        """safetensors dtype of what it brings for a tensor of the base."""
        ...

    def read(self, span: Span, base: BaseSpan, out: Array) -> None:
        """Put the values or deltas of a span into `out` (t,), fp32 or fp64: in both the same numbers."""
        ...

    def stretch(self, span: Span) -> Stretch | None:
        """Where the values of a span lie on this machine, as they are; None where more is to be done."""
        ...


class BaseSpan:
    """The base's numbers of one span, read once and only when somebody asks for them."""

    def __init__(self, base: Tensors, span: Span, dtype: type) -> None:
        self._base, self._span, self._dtype = base, span, dtype
        self._raw: Array | None = None
        self._values: Array | None = None

    @property
    def raw(self) -> Array:
        """In storage dtype."""
        if self._raw is None:
            storage = STORAGE[self._span.info.dtype]
            self._raw = scratch("base as stored", self._span.count, storage.type)
            self._base.read_into(self._span.info.name, self._span.start, self._raw)
        return self._raw

    @property
    def values(self) -> Array:
        """In the dtype that the span is computed in."""
        if self._values is None and STORAGE[self._span.info.dtype].type is self._dtype:
            self._values = self.raw
        elif self._values is None:
            self._values = scratch("base values", self._span.count, self._dtype)
            widen_into(self.raw, self._span.info.dtype, self._values)
        return self._values


@dataclass(frozen=True, slots=True, eq=False)
class DeltaSource:
    """An open contribution: whose it is, its file, and the codec that it is stored in."""

    key: str
    file: TensorFile
    codec: Codec
    fisher: TensorFile | None = None

    @property
    def brings_values(self) -> bool:
        return self.codec.restore is not None

    def check(self, base: Mapping[str, TensorInfo]) -> None:
        for name, info in base.items():
            wanted = (
                TensorInfo(name, self.codec.stored_dtype(info.dtype), info.shape) if info.is_float else None
            )
            got = self.file.tensors.get(name)
            if wanted and not got:
                raise TensorMismatch(f"{self.key}: has no tensor {name!r}, the base has")
            if wanted and got and got != wanted:
                found = f"{got.dtype}{list(got.shape)}, expected {wanted.dtype}{list(wanted.shape)}"
                raise TensorMismatch(f"{self.key}: {name} is {found}")

    def dtype_of(self, name: str) -> str:
        stored = self.file.tensors[name].dtype
        return {"I64": "F64", "I32": "F32", "I16": "F32"}.get(stored, stored)

    def read(self, span: Span, base: BaseSpan, out: Array) -> None:
        name, dtype = span.info.name, span.info.dtype
        stored = scratch("delta as stored", out.shape, STORAGE[self.file.tensors[name].dtype].type)
        self.file.read_into(name, span.start, stored)
        if self.codec.restore is not None:
            widen_into(self.codec.restore(base.raw, stored, dtype), dtype, out)
        else:
            out[...] = self.codec.decode(base.raw, stored, dtype)

    def stretch(self, span: Span) -> None:
        return None


@dataclass(frozen=True, slots=True, eq=False)
class CheckpointSource:
    """A whole finetuned checkpoint. mismatch says what becomes of tensors that differ from the base's.

    "refuse": TensorMismatch names them. "base": the source counts as unchanged there. "rows": so does it
    where it has no such row, and rows that the base has not are left out (a vocabulary that grew or shrank).
    """

    key: str
    checkpoint: Checkpoint
    mismatch: Mismatch = "refuse"
    fisher: TensorFile | None = None
    _infos: dict[str, TensorInfo] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._infos.update(self.checkpoint.tensors)

    def __reduce__(self) -> tuple[Any, ...]:
        return CheckpointSource, (self.key, self.checkpoint, self.mismatch, self.fisher)

    @property
    def brings_values(self) -> bool:
        return True

    def dtype_of(self, name: str) -> str:
        return self._infos[name].dtype if name in self._infos else "F32"

    def check(self, base: Mapping[str, TensorInfo]) -> None:
        for name, wanted in base.items():
            if wanted.is_float:
                self._check_tensor(wanted, self._infos.get(name))
        extra = [name for name, info in self._infos.items() if info.is_float and name not in base]
        if extra and self.mismatch == "refuse":
            raise TensorMismatch(f"{self.key}: has {extra[0]!r}, the base has no such tensor; {_WAY_OUT}")

    def _check_tensor(self, wanted: TensorInfo, got: TensorInfo | None) -> None:
        if got is None and self.mismatch == "refuse":
            raise TensorMismatch(f"{self.key}: has no tensor {wanted.name!r}, the base has; {_WAY_OUT}")
        if got is None:
            return
        if not got.is_float:
            raise TensorMismatch(f"{self.key}: {got.name} is {got.dtype}, the base has {wanted.dtype}")
        rows = self.mismatch == "rows" and _differs_in_rows(got.shape, wanted.shape)
        if got.shape != wanted.shape and not rows and self.mismatch != "base":
            shapes = f"shape {list(got.shape)}, the base {list(wanted.shape)}"
            raise TensorMismatch(f"{self.key}: {got.name} has {shapes}; {_WAY_OUT}")

    def read(self, span: Span, base: BaseSpan, out: Array) -> None:
        got = self._infos.get(span.info.name)
        same = got is not None and got.shape == span.info.shape
        rows = not same and got is not None and self.mismatch == "rows"
        there = (
            span.count if same else min(max((got.count if rows and got else 0) - span.start, 0), span.count)
        )
        if there < span.count:
            out[there:] = base.values[there:]
        if there and got is not None:
            self._read_values(got, span.start, out[:there])

    def stretch(self, span: Span) -> Stretch | None:
        got = self._infos.get(span.info.name)
        if got is None or got.shape != span.info.shape:
            return None
        return self.checkpoint.stretch(got.name, span.start)

    def _read_values(self, info: TensorInfo, start: int, out: Array) -> None:
        storage = STORAGE[info.dtype]
        if storage.type is out.dtype.type:
            self.checkpoint.read_into(info.name, start, out)
            return
        raw = scratch("checkpoint as stored", out.shape, storage.type)
        self.checkpoint.read_into(info.name, start, raw)
        widen_into(raw, info.dtype, out)


_WAY_OUT = "say --mismatch base to keep the base's there, or rows to fuse the rows that both have"


def _differs_in_rows(one: tuple[int, ...], two: tuple[int, ...]) -> bool:
    return len(one) == len(two) > 0 and one[1:] == two[1:]


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """The base and the sources that are fused into it, sorted by their keys.

    Raises TensorMismatch where one does not fit the base, ConfigError where two have the same key: then their
    order would be that of their arrival.
    """

    base: Checkpoint
    sources: tuple[Source, ...]
    body: dict[str, TensorInfo] = field(init=False, default_factory=dict)
    _dtypes: dict[str, type] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.sources, key=lambda source: source.key))
        object.__setattr__(self, "sources", ordered)
        if double := [one.key for one, two in pairwise(ordered) if one.key == two.key]:
            raise ConfigError(f"two inputs are called {double[0]!r}; name them apart")
        tensors = self.base.tensors
        for source in ordered:
            source.check(tensors)
        self.body.update(self.base.body)
        for name, info in self.body.items():
            self._dtypes[name] = working(info.dtype, *(source.dtype_of(name) for source in ordered))

    def __reduce__(self) -> tuple[Any, ...]:
        return Cohort, (self.base, self.sources)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(source.key for source in self.sources)

    def base_span(self, span: Span) -> BaseSpan:
        return BaseSpan(self.base, span, self._dtypes[span.info.name])

    def working(self, span: Span) -> type[Any]:
        """fp32 or fp64: what a span is computed in."""
        return self._dtypes[span.info.name]

    def deltas(self, span: Span, base: BaseSpan) -> Array:
        """The deltas of a span (n, t), in scratch."""
        out = scratch("deltas", (len(self.sources), span.count), self.working(span))
        if (files := self.stretches(span)) and kernels.deltas_of(files, base.values, out):
            return out
        with np.errstate(invalid="ignore", over="ignore"):
            for source, row in zip(self.sources, out, strict=True):
                source.read(span, base, row)
                if source.brings_values:
                    np.subtract(row, base.values, out=row)
        return out

    def stretches(self, span: Span, used: Sequence[int] | None = None) -> list[Stretch] | None:
        """Where the values of a span lie, of all sources or some; None unless all are on this machine."""
        sources = self.sources if used is None else [self.sources[i] for i in used]
        found = [source.stretch(span) for source in sources]
        known = [one for one in found if one is not None]
        return known if len(known) == len(found) else None

    def fishers(self, span: Span) -> Array:
        """The Fisher diagonals of a span (n, t), fp32; in scratch."""
        out = scratch("fishers", (len(self.sources), span.count), np.float32)
        for source, row in zip(self.sources, out, strict=True):
            assert source.fisher is not None  # `check_fishers` comes first
            source.fisher.read_into(span.info.name, span.start, row)
        return out

    def check_fishers(self) -> None:
        """Raise TensorMismatch unless every source ships a diagonal that fits the base."""
        for source in self.sources:
            if source.fisher is None:
                raise TensorMismatch(f"{source.key}: ships no Fisher diagonal; name its file as `fisher`")
            for name, info in self.body.items():
                if source.fisher.tensors.get(name) != TensorInfo(name, "F32", info.shape):
                    raise TensorMismatch(
                        f"{source.key}: its Fisher diagonal has no F32 {name} like the base's"
                    )
