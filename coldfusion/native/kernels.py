"""What kernels.c computes, called from Python: the interpreter's lock is let go of for all of a call.

Every function answers whether it did its work. Where it did not, because there is no library, an array is not
of the dtype that it is for, or it met something odd, the caller computes the same in numpy, and that raises
what is to be raised.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import numpy as np

from coldfusion.dtypes import Array, Float64
from coldfusion.native.building import LIBRARY, digest

_KINDS = {"F32": 0, "BF16": 1, "F16": 2}
_PLAIN, _BAND, _KEPT = 0, 1, 2

_P, _I32, _I64, _F32, _F64 = (
    *(ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_float, ctypes.c_double),
)
_ARGUMENTS = {
    "cf_sum_files": (_P, _P, _P, _I64, _I64, _P, _I64, _P),
    "cf_combine": (_P, _I64, _I64, _I32, _P, _P, _P, _I32, _I32, _F64, _F64, _P),
    "cf_finish": (_P, _I64, _F64, _F64, _F64, _P, _F64, _I32, _P, _P),
    "cf_deltas": (_P, _P, _P, _I64, _I64, _P, _P),
    "cf_inner_products": (_P, _I64, _I64, _I64, _I32, _F32, _P, _P, _P),
    "cf_measure_files": (_P, _P, _P, _I64, _I64, _P, _P, _I64, _I64, _I32, _F32, _P, _P, _P),
    "cf_between": (_P, _I64, _I32, _I32, _P, _P),
}


class Stretch(NamedTuple):
    """Where numbers lie on this machine, one after another."""

    descriptor: int  # of an open file
    position: int  # byte
    dtype: str  # as safetensors writes it


class Band(NamedTuple):
    """Magnitudes that count, by row: from low[i] to high[i], (n,) fp32, both included."""

    low: Array
    high: Array


class Combining(NamedTuple):
    """A sum * factor / divisor; or (A + |S|) * factor, signed like S, of sums S and sums of magnitudes A.

    divisor None: such an elected sum through the number of those that agree with it, see `electing`.
    """

    factor: float
    divisor: float | None = 1.0
    elect: bool = False


class Scaling(NamedTuple):
    """sums * multiply / divide * rate + share * base."""

    multiply: float
    divide: float
    rate: float
    share: float


class Grid(NamedTuple):
    """On what inner products are exact, see `exact/gram.py`."""

    piece: int  # elements
    finest: int  # exponent of the finest grid
    limit: float  # on magnitudes


class Measures(NamedTuple):
    """Sums and largest values so far."""

    gram: Float64  # (n, n)
    peaks: Float64  # (n,) magnitudes

    def copy(self) -> Measures:
        """Of both."""
        return Measures(self.gram.copy(), self.peaks.copy())


_off = os.environ.get("COLDFUSION_NATIVE") == "0"


@cache
def _library() -> ctypes.CDLL | None:
    try:
        found = ctypes.CDLL(str(LIBRARY))
        found.cf_source.restype = ctypes.c_char_p
        current = found.cf_source() == digest().encode()
    except (OSError, AttributeError):
        return None
    if not current:  # the source has changed since: what it says now is what counts
        return None
    for name, arguments in _ARGUMENTS.items():
        function = getattr(found, name)
        function.argtypes, function.restype = arguments, ctypes.c_int
    found.cf_between.restype = ctypes.c_int64
    return found


def library() -> ctypes.CDLL | None:
    """The compiled library; None where numpy is to compute everything."""
    return None if _off else _library()


def take(array: Array) -> bool:
    """Whether there are loops in C for an array."""
    return library() is not None and _are(np.float32, array)


@contextmanager
def numpy_only() -> Iterator[None]:
    """Inside, numpy computes everything, in all threads of this process."""
    global _off
    before, _off = _off, True
    try:
        yield
    finally:
        _off = before


def sum_files(stretches: Sequence[Stretch], memory: Array, total: Float64) -> bool:
    """Put the exact sum of n stretches of len(total) numbers into `total`; memory: fp32, to read into."""
    c = library()
    if c is None:
        return False
    n = len(stretches)
    block = max(memory.size // n // 8 * 8, 8)
    if memory.size < n * block:
        return False
    where = _where(stretches)
    return where is not None and not c.cf_sum_files(
        *map(_at, where), n, total.size, _at(memory), block, _at(total)
    )


def deltas_of(stretches: Sequence[Stretch], base: Array, out: Array) -> bool:
    """Put n stretches less the base (t,), both in fp32, into `out` (n, t)."""
    c = library()
    if c is None or not _are(np.float32, base, out):
        return False
    where = _where(stretches)
    return where is not None and not c.cf_deltas(
        *map(_at, where), len(stretches), base.size, _at(base), _at(out)
    )


def combine(deltas: Array, mask: Band | Array | None, how: Combining, out: Float64) -> bool:
    """Combine what counts of deltas (n, t), exactly, into `out` (t,). mask: (n, t) bool, or by magnitude."""
    c = library()
    if c is None or not _are(np.float32, deltas):
        return False
    low = high = kept = None
    kind = _PLAIN
    if isinstance(mask, Band):
        kind, low, high = _BAND, _at(mask.low), _at(mask.high)
        if not _are(np.float32, *mask):
            return False
    elif mask is not None:
        kind, kept = _KEPT, _at(mask)
    n, t = deltas.shape
    elect = (int(how.elect), int(how.elect and how.divisor is None))
    scaling = (how.factor, 1.0 if how.divisor is None else how.divisor)
    return not c.cf_combine(_at(deltas), n, t, kind, low, high, kept, *elect, *scaling, _at(out))


def finish(sums: Float64, scaling: Scaling, base: Array | None, dtype: str, out: Array) -> float | None:
    """Put sums * multiply / divide * rate + share * base into `out`, stored as `dtype`, rounded once.

    Gives the largest magnitude before rounding: what is stored is of use where the dtype holds it. None where
    that was not done, or something is no number.
    """
    c = library()
    if c is None or dtype not in _KINDS or not _are(np.float32, *([] if base is None else [base])):
        return None
    largest, (*scaled, share) = ctypes.c_double(), scaling
    terms = (_at(sums), sums.size, *scaled, None if base is None else _at(base), share)
    failed = c.cf_finish(*terms, _KINDS[dtype], _at(out), ctypes.addressof(largest))
    return None if failed else largest.value


def inner_products(deltas: Array, grid: Grid, memory: Float64, found: Measures) -> bool:
    """Add those of deltas (n, t) to what was found. memory: n * grid.piece.

    Where this was not done, what was found is lost.
    """
    c = library()
    if c is None or not _are(np.float32, deltas):
        return False
    out = (_at(memory), *map(_at, found))
    return not c.cf_inner_products(_at(deltas), *deltas.shape, *grid, *out)


def measure_files(
    stretches: Sequence[Stretch], base: Array, grid: Grid, memory: tuple[Array, Float64], found: Measures
) -> bool:
    """The same of n stretches less the base (t,). memory: n whole pieces of fp32 or more; as above."""
    c = library()
    if c is None or not _are(np.float32, base) or (where := _where(stretches)) is None:
        return False
    n, (deltas, on_grid) = len(stretches), memory
    block = deltas.size // n // grid.piece * grid.piece
    out = (_at(on_grid), *map(_at, found))
    files = (*map(_at, where), n, base.size)
    return block > 0 and not c.cf_measure_files(*files, _at(base), _at(deltas), block, *grid, *out)


def between(patterns: Array, low: int, high: int, inside: Array) -> tuple[int, int] | None:
    """(how many patterns are above high, how many from low to high); the latter come into `inside`."""
    c = library()
    if c is None or not _are(np.uint32, patterns):
        return None
    above = ctypes.c_int64()
    many = c.cf_between(_at(patterns), patterns.size, low, high, _at(inside), ctypes.addressof(above))
    return above.value, many


def _where(stretches: Sequence[Stretch]) -> tuple[Array, Array, Array] | None:
    try:
        kinds = np.array([_KINDS[one.dtype] for one in stretches], np.int32)
    except KeyError:
        return None
    descriptors = np.array([one.descriptor for one in stretches], np.int32)
    return descriptors, np.array([one.position for one in stretches], np.int64), kinds


def _are(kind: type, *arrays: Array) -> bool:
    return all(array.dtype == kind and array.flags.c_contiguous for array in arrays)


def _at(array: Array) -> int:
    return array.ctypes.data
