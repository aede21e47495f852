"""safetensors out: every offset is known before the first byte, so tensors are written in any order.

Nothing appears under the final name until the file is whole and on the disk.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from coldfusion.dtypes import STORAGE, Array
from coldfusion.errors import writing
from coldfusion.outputs import Filling, announce, begin_writing, kernel, withdraw, write_at
from coldfusion.places import again
from coldfusion.tensorfile import TensorInfo

_AHEAD = 32 << 20
"""Bytes after which the disk is told to begin."""


class TensorWriter:
    """Writes one safetensors file at precomputed offsets.

    Used as a context manager: leaving it normally publishes the file under `path`, leaving it by an exception
    removes what was written. The same tensors and metadata give the same bytes. Raises StorageError when the
    disk refuses.
    """

    def __init__(self, path: Path, tensors: Sequence[TensorInfo], metadata: Mapping[str, str]) -> None:
        self.path = path
        # No other file anywhere has this name: a process that finds it shares the disk with this one.
        self.partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
        self._waiting = 0
        self._tensors = {info.name: info for info in tensors}
        header, self._starts = _layout(tensors, metadata)
        with writing(path):
            self._fd = os.open(self.partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                os.ftruncate(self._fd, len(header) + sum(info.nbytes for info in tensors))
                write_at(self._fd, header, 0)
            except BaseException:
                self._drop()
                raise
        announce(self.partial, self)

    def write(self, name: str, start: int, values: Array) -> None:
        """Put `values`, 1-d and in storage dtype, at element `start` of tensor `name`."""
        dtype = STORAGE[self._tensors[name].dtype]
        if values.dtype != dtype:
            raise TypeError(f"{name}: got {values.dtype}, the file holds {dtype}")
        with writing(self.path):
            data = np.ascontiguousarray(values).view(np.uint8).data
            write_at(self._fd, data, self._starts[name] + start * dtype.itemsize)
        self._waiting += data.nbytes  # of threads that write at once one may not be counted: no matter
        if self._waiting > _AHEAD:
            self._waiting = 0
            begin_writing(self._fd)

    def __enter__(self) -> TensorWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        try:
            with writing(self.path):
                if kind is None:
                    os.fsync(self._fd)
                    os.replace(self.partial, self.path)
        finally:
            withdraw(self.partial)
            self._drop()

    def _drop(self) -> None:
        fd, self._fd = self._fd, -1  # whoever still writes must not write into the next file of this number
        os.close(fd)
        self.partial.unlink(missing_ok=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return again, (Filling, self.path, self.partial.absolute(), kernel())


def _layout(tensors: Sequence[TensorInfo], metadata: Mapping[str, str]) -> tuple[bytes, dict[str, int]]:
    """The length-prefixed header and the absolute byte at which each tensor starts."""
    entries: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    end, begins = 0, {}
    for info in tensors:
        begins[info.name], end = end, end + info.nbytes
        entries[info.name] = {
            "dtype": info.dtype,
            "shape": list(info.shape),
            "data_offsets": [begins[info.name], end],
        }
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the data to 8 bytes
    return len(text).to_bytes(8, "little") + text, {n: 8 + len(text) + b for n, b in begins.items()}
