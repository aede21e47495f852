"""One safetensors file, here or elsewhere, read by name and range with positioned reads and never as a whole.

The header is a stranger's, so it is checked in full before a byte of data is believed: sizes, offsets,
overlaps, holes, duplicate names. Positioned reads instead of a memory map keep the process's memory at the
size of its buffers and let threads read without a shared file position.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from coldfusion.dtypes import FLOATS, STORAGE, Array
from coldfusion.errors import TensorMismatch
from coldfusion.native.kernels import Stretch
from coldfusion.places import Bytes, LocalBytes, again, check_same, part

MAX_HEADER = 100_000_000  # bytes; the safetensors format's own limit
MAX_DIMENSIONS = 16


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Name, dtype (as safetensors writes it) and shape of one tensor."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of elements; 1 for a 0-d tensor."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.count * STORAGE[self.dtype].itemsize

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS


class TensorFile:
    """An open safetensors file: `tensors` says what it holds, `read` brings a range of one of them.

    Raises TensorMismatch for a file that is not well-formed safetensors or has a header of too many bytes.
    """

    def __init__(self, file: Path | Bytes, *, max_header: int = MAX_HEADER) -> None:
        self._bytes = LocalBytes(file) if isinstance(file, Path) else file
        self.path = self._bytes.address
        try:
            self.tensors, self.metadata, self._starts = _parse(self._bytes, max_header)
        except BaseException:
            self._bytes.close()
            raise

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Elements [start, stop) of the flattened tensor, 1-d, in storage dtype (BF16 as uint16)."""
        info = self.tensors[name]
        stop = info.count if stop is None else stop
        out = np.empty(stop - start, dtype=STORAGE[info.dtype])
        self.read_into(name, start, out)
        return out

    def read_into(self, name: str, start: int, out: Array) -> None:
        """The same into `out`, 1-d, contiguous and in storage dtype: as many elements as it holds."""
        try:
            self._bytes.read_into(out.view(np.uint8).data, self.position(name, start))
        except EOFError as exc:
            raise TensorMismatch(f"{self.path}: ends inside tensor {name!r}") from exc

    def stretch(self, name: str, start: int) -> Stretch | None:
        """Where the elements of a tensor lie from `start` on, if that is a file of this machine."""
        descriptor = self._bytes.descriptor
        if descriptor is None:
            return None
        return Stretch(descriptor, self.position(name, start), self.tensors[name].dtype)

    def position(self, name: str, start: int) -> int:
        """The byte of the file at which an element of a tensor begins."""
        return self._starts[name] + start * STORAGE[self.tensors[name].dtype].itemsize

    def fingerprint(self) -> str:
        """Equal where the contents are; empty where the address says it all."""
        return self._bytes.fingerprint()

    def check(self, fingerprint: str) -> None:
        """Raise BaseError where this is not the file that the fingerprint was taken of."""
        check_same(self._bytes, fingerprint)

    def close(self) -> None:
        self._bytes.close()

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return again, (TensorFile, self._bytes)


def _parse(file: Bytes, limit: int) -> tuple[dict[str, TensorInfo], dict[str, str], dict[str, int]]:
    """The header: tensors in file order, metadata, and the absolute byte at which each tensor starts."""
    path, size = file.address, file.size
    length = int.from_bytes(part(file, 0, min(8, size)), "little")
    if size < 8 or length > min(limit, size - 8):
        raise TensorMismatch(f"{path}: not a safetensors file: header of {length} bytes in a file of {size}")
    try:
        header = json.loads(part(file, 8, length), object_pairs_hook=_without_duplicates)
        metadata = _metadata(header.pop("__metadata__", {}))
        spans = {name: _span(name, entry) for name, entry in header.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise TensorMismatch(f"{path}: not a safetensors header: {exc}") from exc
    expected, starts = 0, {}
    for name, (info, begin, end) in sorted(spans.items(), key=lambda item: (item[1][1:], item[0])):
        if begin != expected or end - begin != info.nbytes:
            raise TensorMismatch(f"{path}: {name!r} has bytes {begin} to {end}, expected from {expected}")
        expected, starts[name] = end, 8 + length + begin
    if expected != size - 8 - length:
        raise TensorMismatch(f"{path}: holds {size - 8 - length} bytes, its header describes {expected}")
    return {name: spans[name][0] for name in starts}, metadata, starts


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _metadata(entry: Mapping[str, Any]) -> dict[str, str]:
    if not all(isinstance(value, str) for value in entry.values()):
        raise ValueError("metadata is not text")
    return dict(entry)


def _span(name: str, entry: Mapping[str, Any]) -> tuple[TensorInfo, int, int]:
    begin, end = entry["data_offsets"]
    numbers = [*entry["shape"], begin, end]
    if entry["dtype"] not in STORAGE:
        raise ValueError(f"tensor {name!r} has dtype {entry['dtype']!r}, known are {', '.join(STORAGE)}")
    if len(numbers) > MAX_DIMENSIONS + 2 or any(type(n) is not int or not 0 <= n < 2**63 for n in numbers):
        raise ValueError(f"tensor {name!r} has an impossible shape or offset")
    return TensorInfo(name, entry["dtype"], tuple(entry["shape"])), begin, end
