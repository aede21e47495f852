"""Fuse once in a process of its own and print what it took, as JSON: the child of `coldfusion bench fuse`.

Imports nothing but the core, as a coordinator on a small machine would.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from coldfusion.checkpoint import Checkpoint
from coldfusion.codecs import codec_named
from coldfusion.fusers import fuser_named
from coldfusion.fusing import DeltaSource, fuse, measure
from coldfusion.tensorfile import TensorFile


def main(base: str, deltas: str, count: str, codec: str, into: str) -> None:
    """Measure and fuse the first `count` files of the folder `deltas`."""
    files = sorted(Path(deltas).iterdir())[: int(count)]
    sources = [DeltaSource(path.name, TensorFile(path), codec_named(codec)) for path in files]
    with Checkpoint(Path(base)) as checkpoint:
        started = time.perf_counter()
        measure(checkpoint, sources)
        measured = time.perf_counter()
        fuse(
            checkpoint,
            sources,
            fuser_named("mean"),
            weights=[1.0] * len(sources),
            outer_lr=1.0,
            into=Path(into),
        )
        fused = time.perf_counter()
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    took = {
        "measure": measured - started,
        "fuse": fused - measured,
        "peak_mb": int(peak[1]) / 1024 if peak else 0,
    }
    print(json.dumps(took))


if __name__ == "__main__":
    main(*sys.argv[1:])
