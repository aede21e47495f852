"""Where the files of a checkpoint are: a directory, or anything else that gives out bytes by range.

A place and what was opened in it may be sent to another process. There it is opened anew, once, and what is
found must be what was found here: a cluster whose machines hold different files under one path would
otherwise fuse parts of different models into one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

from coldfusion.errors import BaseError

T = TypeVar("T")

WEIGHTS = "model.safetensors"
PRINTS, PRINT = 16, 4096
"""Pieces of a file that its fingerprint is made of, and their bytes. Training changes every piece."""


class Bytes(Protocol):
    """An open file of which ranges are read, by several threads at once."""

    @property
    def address(self) -> str:
        """What messages call it."""

    @property
    def size(self) -> int: ...

    def read_into(self, view: memoryview, position: int) -> None:
        """Fill the whole view with what stands from `position` on. Raises EOFError where the file ends."""

    @property
    def descriptor(self) -> int | None:
        """Of the open file, where this is one of this machine."""

    def fingerprint(self) -> str:
        """Equal where the contents are; empty where the address says it all."""

    def close(self) -> None: ...


class Place(Protocol):
    """Where a checkpoint is. Hashable, equal to another that is the same place, and may be pickled."""

    @property
    def address(self) -> str: ...

    def names(self) -> Collection[str]:
        """The names of the files. Raises HubError where the place is not to be reached."""

    def open(self, name: str) -> Bytes: ...

    def sha256(self, name: str) -> str:
        """Of a file's contents, in hex."""


class LocalBytes:
    """A file of this machine, by positioned reads straight into the caller's memory."""

    def __init__(self, path: Path, expected: str = "") -> None:
        self.path, self._fd = path, -1
        self._fd = os.open(path, os.O_RDONLY)
        check_same(self, expected)

    @property
    def address(self) -> str:
        return str(self.path)

    @property
    def size(self) -> int:
        return os.fstat(self._fd).st_size

    @property
    def descriptor(self) -> int | None:
        return self._fd

    def read_into(self, view: memoryview, position: int) -> None:
        while view:
            got = os.preadv(self._fd, [view], position)
            if got == 0:
                raise EOFError(f"{self.path}: ends at byte {position}")
            view, position = view[got:], position + got

    def fingerprint(self) -> str:
        digest = hashlib.sha256(str(self.size).encode())
        for i in range(PRINTS):
            digest.update(os.pread(self._fd, PRINT, i * self.size // PRINTS))
        return digest.hexdigest()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # Of what came here in a pickle nobody knows when it is done with. `os` may be gone when all ends.
        if self._fd >= 0:
            close(self._fd)

    def __reduce__(self) -> tuple[Any, ...]:
        return again, (LocalBytes, self.path.absolute(), self.fingerprint())


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory of this machine."""

    path: Path

    @property
    def address(self) -> str:
        return str(self.path)

    def names(self) -> Collection[str]:
        return {e.name for e in self.path.iterdir() if e.is_file()} if self.path.is_dir() else ()

    def open(self, name: str) -> Bytes:
        return LocalBytes(self.path / name)

    def sha256(self, name: str) -> str:
        return sha256_of(self.path / name)

    def __reduce__(self) -> tuple[Any, ...]:
        return Directory, (self.path.absolute(),)


@dataclass(frozen=True, slots=True)
class OneFile:
    """A safetensors file of any name, as a checkpoint of nothing else."""

    path: Path

    @property
    def address(self) -> str:
        return str(self.path)

    def names(self) -> Collection[str]:
        return (WEIGHTS,)

    def open(self, name: str) -> Bytes:
        return LocalBytes(self.path)

    def sha256(self, name: str) -> str:
        return sha256_of(self.path)

    def __reduce__(self) -> tuple[Any, ...]:
        return OneFile, (self.path.absolute(),)


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def contents(place: Place, name: str) -> bytes:
    """A small file as a whole."""
    file = place.open(name)
    try:
        return part(file, 0, file.size)
    finally:
        file.close()


def part(file: Bytes, position: int, length: int) -> bytes:
    """So many bytes from a position on."""
    data = bytearray(length)
    file.read_into(memoryview(data), position)
    return bytes(data)


def check_same(file: Bytes, expected: str) -> None:
    """Raise BaseError where a file is not the one that a fingerprint was taken of."""
    if expected and file.fingerprint() != expected:
        raise BaseError(f"{file.address}: is another file on {os.uname().nodename} than where this began")


_AGAIN: WeakValueDictionary[Any, Any] = WeakValueDictionary()


def again(make: Callable[..., T], *arguments: Any) -> T:
    """make(*arguments), of which this process has one for as long as somebody holds it.

    What is sent to a worker with every task is so opened by the first and found open by the others.
    """
    found: T | None = _AGAIN.get((make, arguments))
    if found is None:
        found = _AGAIN[make, arguments] = make(*arguments)
    return found
