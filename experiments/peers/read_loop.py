"""The mean of checkpoints by a loop written for nothing else: python read_loop.py DTYPE OUT FILE...

What numpy can do on two threads: positioned reads of the same range of every file, one fp64 sum, one write.
Takes the files for equal in layout and knows nothing of tensors, which is why it is the bar and not a tool.
"""

from __future__ import annotations

import os
import sys
from threading import Thread
from typing import Any

import numpy as np

THREADS = 2
TILE = 1 << 17  # elements: read buffer and sum stay in the L2 cache

STORED: dict[str, Any] = {"float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}


def average(sources: list[int], out: int, spans: range, end: int, dtype: str) -> None:
    """Write the mean of the ranges that begin at `spans`."""
    raw, total = np.empty(TILE, STORED[dtype]), np.empty(TILE)
    bytes_of_raw = raw.view(np.uint8).data
    for start in spans:
        size = min(raw.nbytes, end - start)
        count = size // raw.itemsize
        total[:count] = 0.0
        for source in sources:
            os.preadv(source, [bytes_of_raw[:size]], start)
            np.add(total[:count], widened(raw[:count], dtype), out=total[:count])
        total[:count] /= len(sources)
        os.pwrite(out, narrowed(total[:count], dtype), start)


def widened(raw: Any, dtype: str) -> Any:
    return (raw.astype(np.uint32) << 16).view(np.float32) if dtype == "bfloat16" else raw


def narrowed(total: Any, dtype: str) -> Any:
    if dtype != "bfloat16":
        return total.astype(STORED[dtype]).data
    bits = total.astype(np.float32).view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16).data


def main(dtype: str, target: str, *files: str) -> None:
    sources = [os.open(file, os.O_RDONLY) for file in files]
    start, end = 8 + int.from_bytes(os.pread(sources[0], 8, 0), "little"), os.fstat(sources[0]).st_size
    with open(target, "wb") as file, open(files[0], "rb") as first:
        file.write(first.read(start))
        file.flush()
        step = TILE * np.dtype(STORED[dtype]).itemsize
        parts = [range(start + k * step, end, THREADS * step) for k in range(THREADS)]
        threads = [Thread(target=average, args=(sources, file.fileno(), part, end, dtype)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
