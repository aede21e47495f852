"""Which elements of a delta are kept: by magnitude, or at random.

A mask is a value in a plan. It hands out the kept deltas of a tile row by row, with zeros where an element is
dropped. A row is scratch: good until the next one is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from coldfusion.dtypes import Array
from coldfusion.exact.scratch import scratch
from coldfusion.exact.sums import doubled_pattern, magnitudes
from coldfusion.fusers.family import Tile
from coldfusion.fusers.sampling import keep_evenly
from coldfusion.native import kernels


class Mask(Protocol):
    """What every kind of mask does."""

    def rows(self, tile: Tile) -> Iterator[Array]:
        """The kept deltas of each contribution in turn, (t,), in the tile's dtype or in fp64."""
        ...

    def in_c(self, tile: Tile) -> kernels.Band | Array | None:
        """What counts, (n, t) bool or by magnitude, for loops in C; None where `rows` says more."""
        ...

    def bounds(self, tile: Tile) -> tuple[int, int] | None:
        """Within what the magnitudes of the rows are, as `magnitudes` says it; None where rows are fp64."""
        ...


@dataclass(frozen=True, slots=True)
class Band:
    """Keeps the magnitudes from low[i] to high[i], both included: equal magnitudes share their fate."""

    low: Array  # (n,)
    high: Array  # (n,)

    def rows(self, tile: Tile) -> Iterator[Array]:
        deltas, size = tile.deltas, tile.deltas.shape[1]
        sizes, inside = scratch("magnitudes", size, deltas.dtype), scratch("inside", size, np.bool_)
        for row, low, high in zip(deltas, self.low, self.high, strict=True):
            if low > 0 or high < np.inf:
                np.greater_equal(np.abs(row, out=sizes), low, out=inside)
                if high < np.inf:
                    inside &= sizes <= high
                yield masked(row, inside)
            else:
                yield row

    def in_c(self, tile: Tile) -> kernels.Band:
        return kernels.Band(self.low, self.high)

    def bounds(self, tile: Tile) -> tuple[int, int] | None:
        if tile.deltas.dtype != np.float32:
            return None
        low = self.low.min(initial=np.inf)
        if not low > 0:
            return magnitudes(tile.deltas)
        # What is kept is at least `low`: the smallest magnitude of the tile need not be looked for.
        largest = max(tile.deltas.max(initial=0), -tile.deltas.min(initial=0))
        return (doubled_pattern(largest), doubled_pattern(low)) if low <= largest else (0, 0)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Keeps each element with the same probability."""

    probability: float

    def rows(self, tile: Tile) -> Iterator[Array]:
        for key, row in zip(tile.keys, tile.deltas, strict=True):
            yield masked(row, self._kept(tile, key))

    def in_c(self, tile: Tile) -> Array:
        kept = scratch("all kept", tile.deltas.shape, np.bool_)
        for key, row in zip(tile.keys, kept, strict=True):
            row[:] = self._kept(tile, key)
        return kept

    def _kept(self, tile: Tile, key: str) -> Array:
        stream = (tile.seed, key, tile.name)
        return keep_evenly(stream, tile.start, tile.deltas.shape[1], self.probability)

    def bounds(self, tile: Tile) -> tuple[int, int] | None:
        return magnitudes(tile.deltas) if tile.deltas.dtype == np.float32 else None


def everything(n: int) -> Band:
    """Keeps n deltas as they are."""
    return Band(np.zeros(n, np.float32), np.full(n, np.inf, np.float32))


def nothing(n: int) -> Band:
    """Keeps nothing of n deltas."""
    return Band(np.full(n, np.inf, np.float32), np.full(n, np.inf, np.float32))


def masked(row: Array, kept: Array) -> Array:
    """The row (t,) with zeros, of either sign, where `kept` (t,) is false."""
    return np.multiply(row, kept, out=scratch("kept", len(row), row.dtype))
