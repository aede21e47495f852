"""The streaming engine: measure a round's deltas, fuse them into the next base, tile by tile.

A tile is one range of one tensor, read from the base and from every contribution. It shrinks as
contributions are added, so the memory of a pass does not depend on how many there are. Arithmetic is fp64
with one rounding at the end; a tile's result depends on nothing but that tile, so neither tiling nor the
order of arrival shows in the bytes (contributions are taken in the order of their contributors' names).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coldfusion.checkpoint import INDEX, Checkpoint
from coldfusion.codecs import Codec
from coldfusion.dtypes import Array, Float64, narrow, widen
from coldfusion.errors import writing
from coldfusion.fusers import Fuser
from coldfusion.stats import RoundStats
from coldfusion.tensorfile import TensorFile, TensorInfo
from coldfusion.tensorwriter import TensorWriter

STACK_BYTES = 16 << 20  # of one tile of all deltas in fp64


@dataclass(frozen=True, slots=True)
class DeltaSource:
    """An open contribution: whose it is, its file, and the codec that it is stored in."""

    contributor: str
    file: TensorFile
    codec: Codec


def measure(base: Checkpoint, sources: Sequence[DeltaSource]) -> RoundStats:
    """One pass over every delta. The sources must hold exactly the base's body (see `admission`)."""
    sources = sorted(sources, key=lambda source: source.contributor)
    finite, squares = np.ones(len(sources), dtype=bool), np.zeros(len(sources))
    for info in base.body.values():
        for start, stop in _tiles(info, len(sources)):
            _, deltas = _stack(base, sources, info, start, stop)
            finite &= np.isfinite(deltas).all(axis=1)
            with np.errstate(over="ignore", invalid="ignore"):
                squares += np.square(deltas).sum(axis=1)
    return RoundStats(tuple(source.contributor for source in sources), finite, np.sqrt(squares))


def fuse(
    base: Checkpoint,
    sources: Sequence[DeltaSource],
    fuser: Fuser,
    *,
    weights: Sequence[float],
    outer_lr: float,
    into: Path,
) -> None:
    """Write base + outer_lr * fuser(deltas) into the directory `into`, in the base's files, names and dtypes.

    weights: (n,), in the order of `sources`. Tensors that are not floating-point stay the base's. Raises
    StorageError when the disk refuses; a file appears under its name only when it is whole.
    """
    order = sorted(range(len(sources)), key=lambda i: sources[i].contributor)
    ordered = [sources[i] for i in order]
    weight = np.array([weights[i] for i in order], dtype=np.float64)
    for name, shard in base.shards.items():
        with TensorWriter(into / name, list(shard.tensors.values()), shard.metadata) as out:
            for info in shard.tensors.values():
                for start, stop in _tiles(info, len(ordered)):
                    if info.is_float:
                        raw, deltas = _stack(base, ordered, info, start, stop)
                        stepped = widen(raw, info.dtype) + outer_lr * fuser(deltas, weight)
                        out.write(info.name, start, narrow(stepped, info.dtype))
                    else:
                        out.write(info.name, start, base.read(info.name, start, stop))
    if (base.directory / INDEX).exists():
        with writing(into / INDEX):
            shutil.copyfile(base.directory / INDEX, into / INDEX)


def _tiles(info: TensorInfo, n: int) -> Iterator[tuple[int, int]]:
    size = max(1024, STACK_BYTES // (8 * max(1, n)))
    for start in range(0, info.count, size):
        yield start, min(start + size, info.count)


def _stack(
    base: Checkpoint, sources: Sequence[DeltaSource], info: TensorInfo, start: int, stop: int
) -> tuple[Array, Float64]:
    """(the base's raw range, the deltas of the same range (n, stop - start) in fp64)."""
    raw = base.read(info.name, start, stop)
    deltas = np.empty((len(sources), stop - start))
    for row, source in zip(deltas, sources, strict=True):
        row[:] = source.codec.decode(raw, source.file.read(info.name, start, stop), info.dtype)
    return raw, deltas
