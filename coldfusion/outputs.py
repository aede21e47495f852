"""Files that workers fill in: in the process that made them, in others, on other machines.

Every span has its place in a file before it is computed, so workers that see the file write into it, each its
own ranges and in any order; writing a range twice writes the same bytes. What a worker computes that does not
see the file is left, and whoever employs the worker has it written where the file was made.
"""

from __future__ import annotations

import ctypes
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

import numpy as np

from coldfusion.dtypes import Array
from coldfusion.errors import writing
from coldfusion.tensorfile import TensorFile


class Writer(Protocol):
    """What `TensorWriter` is, and `Filling` in its place elsewhere."""

    def write(self, name: str, start: int, values: Array) -> None: ...


@dataclass(frozen=True, slots=True)
class Left:
    """Values that a worker could not write where they belong."""

    partial: Path  # of the file that they belong into
    tensor: str
    start: int
    values: Array


_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)  # Linux; not in Python's `os`
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)

_left: list[Left] = []
_made_here: WeakValueDictionary[Path, Writer] = WeakValueDictionary()


class Filling:
    """A `TensorWriter` in another process: it writes into the file that the first one has laid out."""

    def __init__(self, path: Path, partial: Path, made_on: str) -> None:
        self._path, self._partial, self._fd = path, partial, -1
        self._flush = made_on != kernel()
        if os.access(partial, os.W_OK):
            with TensorFile(partial) as file:
                self._position = file.position
            with writing(path):
                self._fd = os.open(partial, os.O_WRONLY)

    def write(self, name: str, start: int, values: Array) -> None:
        """Put `values`, 1-d and in storage dtype, at element `start` of tensor `name`, now or later."""
        if self._fd < 0:
            _left.append(Left(self._partial, name, start, values.copy()))  # the worker uses its memory again
            return
        with writing(self._path):
            write_at(self._fd, np.ascontiguousarray(values).view(np.uint8).data, self._position(name, start))
            if self._flush:  # what another kernel keeps in its cache, the one that publishes the file lacks
                os.fdatasync(self._fd)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def announce(partial: Path, writer: Writer) -> None:
    """Say who writes a file, for what others leave of it."""
    _made_here[partial.absolute()] = writer


def withdraw(partial: Path) -> None:
    """Say that nobody writes it any more."""
    _made_here.pop(partial.absolute(), None)


def take_left() -> list[Left]:
    """What this process computed and could not write since it was last asked."""
    found = _left.copy()
    _left.clear()
    return found


def finish(left: Iterable[Left]) -> None:
    """Write what workers had to leave, where its files are still being made."""
    for one in left:
        if writer := _made_here.get(one.partial):
            writer.write(one.tensor, one.start, one.values)


def begin_writing(fd: int) -> None:
    """Have the kernel start to write what is not yet on the disk, without waiting, where it knows how to.

    So that the disk works while the next part is computed, and whoever waits for it in the end waits less.
    """
    if _sync_file_range is not None:
        _sync_file_range(fd, 0, 0, 2)  # SYNC_FILE_RANGE_WRITE; of the whole file


def kernel() -> str:
    """Names the running kernel: processes under one share what is written and not yet on the disk."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return uuid.uuid4().hex  # not known: like no other


def write_at(fd: int, data: bytes | memoryview, position: int) -> None:
    """Write all of it at a byte of a file, whoever else writes elsewhere in it."""
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, position)
        view, position = view[done:], position + done
