"""Memory that a thread fills again for every span.

An array of a span's size goes back to the operating system when it is dropped, and the page faults of the
next one cost more than the arithmetic: measured, 2 ns per element of a contribution out of 4.

What is asked for under a use is good until the same thread asks for that use again. Three rules keep it safe:
a use belongs to one purpose of one function, which is done with an array before it asks for the next one, and
so is whoever it hands the array to; nothing is kept in such an array, or given to another thread in it; and
what is computed in the midst of other work, with the same functions, is computed inside `set_aside`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from coldfusion.dtypes import Array

KEPT = 1 << 18
"""Elements of a row up to which its memory is kept: spans are no longer, but for whole tensors and rows."""


class _Kept(threading.local):
    def __init__(self) -> None:
        self.arrays: dict[tuple[str, np.dtype[Any]], Array] = {}


_kept = _Kept()


def scratch(use: str, shape: int | tuple[int, ...], dtype: DTypeLike) -> Array:
    """An array of anything: the same memory each time that this thread asks for the same use and dtype."""
    kind = np.dtype(dtype)
    shape = (shape,) if isinstance(shape, int) else shape
    if shape and shape[-1] > KEPT:
        return np.empty(shape, kind)
    count = math.prod(shape)
    found = _kept.arrays.get((use, kind))
    if found is None or len(found) < count:
        found = _kept.arrays[use, kind] = np.empty(count, kind)
    return found[:count].reshape(shape)


def zeroed(use: str, shape: int | tuple[int, ...], dtype: DTypeLike) -> Array:
    """The same, of zeros."""
    array = scratch(use, shape, dtype)
    array.fill(0)
    return array


@contextmanager
def set_aside() -> Iterator[None]:
    """Inside, this thread gets other memory for every use, and what it was given before stays as it is."""
    before, _kept.arrays = _kept.arrays, {}
    try:
        yield
    finally:
        _kept.arrays = before
