"""Random masks by element: who is kept depends on the round, the contribution, the tensor and the position.

Draws come from a counter-based generator (Philox 4x64-10: Salmon et al. 2011), whose n-th number is a
function of a key and of n. So a mask does not depend on how a tensor is cut into tiles, on threads, or on who
else contributes. numpy keeps the raw stream of its bit generators the same over versions (NEP 19).
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from coldfusion.dtypes import Float64
from coldfusion.exact.scratch import scratch
from coldfusion.seeds import seed_for

Stream = tuple[int | str, ...]
"""What a stream of draws belongs to: (seed of the round, key of the contribution, name of the tensor)."""

_BLOCK = 16  # draws of 16 bits that one step of the counter yields


def keep_evenly(stream: Stream, start: int, count: int, probability: float) -> NDArray[np.bool_]:
    """(count,): whether element start + j of the stream is kept, each with the same probability in [0, 1).

    The first 16 bits of an element's draw decide, but for the one element in 65,536 whose draw is where the
    probability lies: a hash of its position supplies 63 more. The mask is scratch.
    """
    bound = int(probability * 2**16)
    drawn = draws(stream, start, count)
    kept = np.less(drawn, np.uint16(bound), out=scratch("kept by draw", count, np.bool_))
    rest = probability * 2**16 - bound
    if rest:
        for j in np.flatnonzero(drawn == np.uint16(bound)).tolist():
            kept[j] = _chance(stream, start + j) < rest
    return kept


def keep_unevenly(stream: Stream, start: int, probability: Float64) -> NDArray[np.bool_]:
    """The same with probabilities (t,) in [0, 1]: one for each element."""
    scaled = probability * 2**16
    bound = np.minimum(scaled, 2**16 - 1).astype(np.uint16)
    drawn = draws(stream, start, len(probability))
    kept: NDArray[np.bool_] = drawn < bound
    for j in np.flatnonzero(drawn == bound).tolist():
        kept[j] = _chance(stream, start + j) < scaled[j] - bound[j]
    return kept


def draws(stream: Stream, start: int, count: int) -> NDArray[np.uint16]:
    """Numbers start to start + count of the stream, each of 16 bits."""
    block, skipped = divmod(start, _BLOCK)
    raw = _generator.at(seed_for(*stream), block).random_raw(-(-(skipped + count) // 4))
    return raw.astype("<u8", copy=False).view("<u2")[skipped : skipped + count]


def _chance(stream: Stream, position: int) -> float:
    return seed_for(*stream, position) / 2.0**63


class _Generator(threading.local):
    """One generator per thread: to make one takes four times as long as to move it."""

    def __init__(self) -> None:
        self.philox = np.random.Philox(key=0)
        self.state = self.philox.state

    def at(self, key: int, block: int) -> np.random.Philox:
        self.state["state"]["key"][0] = key
        self.state["state"]["counter"][0] = block
        self.philox.state = self.state
        return self.philox


_generator = _Generator()
