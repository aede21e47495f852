"""`coldfusion bench`: what things cost here, with the machine and the versions beside the figures."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from rich.table import Table

from coldfusion.codecs import codec_named
from coldfusion.dtypes import STORAGE
from coldfusion.errors import writing
from coldfusion.tensorfile import TensorInfo
from coldfusion.tensorwriter import TensorWriter
from experiments.report import machine, versions

RUNS = 3
ROWS = 768  # of every tensor but the last: about what an encoder's matrices have


@dataclass(frozen=True, slots=True)
class FuseCost:
    """Of fusing so many contributions: medians of RUNS processes."""

    contributions: int
    measure: float  # seconds
    fuse: float  # seconds
    peak_mb: float  # resident memory of the process at its highest


def bench_fuse(parameters: int, counts: Sequence[int], codec: str) -> Table:
    """The time and the peak memory of measuring and fusing deltas of an fp32 model, page cache warm."""
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        _make_inputs(room, parameters, max(counts), codec)
        costs = [_cost(room, count, codec) for count in counts]
    table = Table(
        title=f"mean of deltas of {parameters / 1e6:,.0f} M fp32 parameters, codec {codec}", caption=_where()
    )
    for title in ("contributions", "GB in", "measure s", "fuse s", "peak MB"):
        table.add_column(title, justify="right")
    for cost in costs:
        read = (cost.contributions + 1) * parameters * 4 / 1e9
        cells = (f"{read:.1f}", f"{cost.measure:.2f}", f"{cost.fuse:.2f}", f"{cost.peak_mb:.0f}")
        table.add_row(str(cost.contributions), *cells)
    return table


def _cost(room: Path, count: int, codec: str) -> FuseCost:
    command = [sys.executable, "-m", "experiments.fuse_once"]
    arguments = [str(room / "base"), str(room / "deltas"), str(count), codec, str(room / "out")]
    outputs = [
        subprocess.run([*command, *arguments], check=True, capture_output=True).stdout for _ in range(RUNS)
    ]
    runs = [json.loads(output) for output in outputs]
    return FuseCost(count, *(median(run[part] for run in runs) for part in ("measure", "fuse", "peak_mb")))


def _make_inputs(room: Path, parameters: int, count: int, codec: str) -> None:
    """A base of about so many parameters, and deltas of the size of an ordinary fine-tune."""
    rng, rows = np.random.default_rng(0), [ROWS] * (parameters // (ROWS * 3072))
    infos = [TensorInfo(f"layer.{i}.weight", "F32", (n, 3072)) for i, n in enumerate(rows or [1])]
    with writing(room):
        for folder in ("base", "deltas", "out"):
            (room / folder).mkdir()
    with TensorWriter(room / "base" / "model.safetensors", infos, {"format": "pt"}) as out:
        for info in infos:
            out.write(info.name, 0, rng.normal(0, 0.02, info.count).astype(np.float32))
    stored = codec_named(codec).stored_dtype("F32")
    for i in range(count):
        delta_infos = [TensorInfo(info.name, stored, info.shape) for info in infos]
        with TensorWriter(room / "deltas" / f"{i:03}", delta_infos, {}) as out:
            for info in delta_infos:
                noise = rng.integers(-(2**15), 2**15, info.count, dtype=np.int16)
                scale = 1 if stored.startswith("I") else 1e-7
                out.write(info.name, 0, (noise * np.float32(scale)).astype(STORAGE[stored]))


def _where() -> str:
    return f"medians of {RUNS} processes; {machine()}; numpy {versions()['numpy']}"
