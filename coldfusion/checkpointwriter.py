"""A new checkpoint in the files, names and shapes of another: its shards first, its index last."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from coldfusion.checkpoint import INDEX, Checkpoint
from coldfusion.dtypes import Array
from coldfusion.errors import writing
from coldfusion.tensorfile import TensorFile, TensorInfo
from coldfusion.tensorwriter import TensorWriter


class CheckpointWriter:
    """Writes into the directory `into` what a base's files hold, range by range, from any thread.

    dtype: safetensors dtype of the floats that are written; None: the base's. Used as a context manager:
    leaving it normally puts every file under its name, each of them whole; leaving it by an exception removes
    what was written. Raises StorageError when the disk refuses.
    """

    def __init__(self, base: Checkpoint, into: Path, dtype: str | None = None) -> None:
        with ExitStack() as stack:
            if base.index is not None:  # what is entered first is left last
                stack.enter_context(_appearing(base.index, into / INDEX))
            self._writers = {
                name: stack.enter_context(TensorWriter(into / name, _written(shard, dtype), shard.metadata))
                for name, shard in base.shards.items()
            }
            self._close = stack.pop_all()

    def write(self, shard: str, name: str, start: int, values: Array) -> None:
        """Put `values`, 1-d and in storage dtype, at element `start` of a tensor of this shard."""
        self._writers[shard].write(name, start, values)

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close.__exit__(kind, exc, trace)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Elsewhere, (self._writers,)


class _Elsewhere:
    """The same in another process, which writes and leaves the rest to the one that opened it."""

    def __init__(self, writers: dict[str, TensorWriter]) -> None:
        self._writers = writers

    def write(self, shard: str, name: str, start: int, values: Array) -> None:
        self._writers[shard].write(name, start, values)


def _written(shard: TensorFile, dtype: str | None) -> list[TensorInfo]:
    return [
        replace(info, dtype=dtype) if dtype and info.is_float else info for info in shard.tensors.values()
    ]


@contextmanager
def _appearing(data: bytes, to: Path) -> Iterator[None]:
    """A small file that takes its room on the disk at once, and its name when the block is left normally."""
    partial = to.with_name(f".{to.name}.{os.getpid()}.partial")
    try:
        with writing(to):
            partial.write_bytes(data)
        yield
        with writing(to):
            os.replace(partial, to)
    finally:
        partial.unlink(missing_ok=True)
