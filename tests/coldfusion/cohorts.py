"""Cohorts of small checkpoints to fuse, of any dtype, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from coldfusion.checkpoint import Checkpoint
from coldfusion.codecs import CODECS
from coldfusion.deltas import write_delta
from coldfusion.dtypes import FLOATS, STORAGE, Float64, narrow, widen
from coldfusion.engine.crews import Threads
from coldfusion.engine.fusing import Rule, fuse_cohort
from coldfusion.engine.sources import CheckpointSource, Cohort, DeltaSource, Mismatch, Source
from coldfusion.fusers import fuser_named, make_options
from coldfusion.tensorfile import TensorFile, TensorInfo
from coldfusion.tensorwriter import TensorWriter

Body = Mapping[str, np.ndarray]

TAKES = {"slerp": 2}
"""How many inputs a rule takes, where it is not any number from 3."""


def write(path: Path, body: Body, dtype: str = "F32") -> None:
    """One safetensors file; floats are rounded to `dtype`, integers stay what they are."""
    integers = {str(STORAGE[name]): name for name in ("I64", "I32", "I16", "BOOL")}
    raw = {
        name: (dtype, narrow(np.asarray(tensor, np.float64), dtype))
        if np.asarray(tensor).dtype.kind == "f"
        else (integers[str(tensor.dtype)], tensor)
        for name, tensor in body.items()
    }
    infos = [TensorInfo(name, kind, np.shape(body[name])) for name, (kind, _) in raw.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with TensorWriter(path, infos, {"format": "pt"}) as out:
        for name, (_, values) in raw.items():
            out.write(name, 0, values.reshape(-1))


def checkpoint(folder: Path, body: Body, dtype: str = "F32") -> Checkpoint:
    write(folder / "model.safetensors", body, dtype)
    return Checkpoint(folder)


def whole(
    room: Path, key: str, body: Body, dtype: str = "F32", mismatch: Mismatch = "refuse", fisher: bool = False
) -> CheckpointSource:
    """A finetuned checkpoint, with a made-up Fisher diagonal where one is asked for."""
    opened = checkpoint(room / key, body, dtype)
    if not fisher:
        return CheckpointSource(key, opened, mismatch)
    rng = np.random.default_rng(len(key) + ord(key[-1]))
    write(room / f"{key}.fisher", {n: rng.uniform(0.1, 1, i.shape) for n, i in opened.body.items()})
    return CheckpointSource(key, opened, mismatch, TensorFile(room / f"{key}.fisher"))


def delta(room: Path, key: str, body: Body, base: Checkpoint, codec: str) -> DeltaSource:
    """The same, as an encoded delta."""
    room.mkdir(parents=True, exist_ok=True)
    path = room / f"{key}.{codec}"
    write_delta(base, lambda name: np.asarray(body[name]), path, codec=codec)
    return DeltaSource(key, TensorFile(path), CODECS[codec])


def fuse(
    base: Checkpoint,
    sources: Sequence[Source],
    into: Path,
    rule: str = "mean",
    *,
    weights: Mapping[str, float] | None = None,
    threads: int = 2,
    **given: object,
) -> dict[str, Float64]:
    """What the engine writes, by tensor, widened. given: fields of the Rule, and the rule's options."""
    fuser, cohort = fuser_named(rule), Cohort(base, tuple(sources))
    fields = {name: given.pop(name) for name in ("outer_lr", "dtype", "seed") if name in given}
    numbers = tuple(1.0 if weights is None else weights[key] for key in cohort.keys)
    into.mkdir(parents=True)
    made = Rule(fuser=fuser, options=make_options(fuser, given), weights=numbers, **fields)  # type: ignore[arg-type]
    fuse_cohort(cohort, made, into, crew=Threads(threads))
    return read(into)


def read(folder: Path) -> dict[str, Float64]:
    with Checkpoint(folder) as made:
        return {
            name: (widen(made.read(name), info.dtype) if info.dtype in FLOATS else made.read(name)).reshape(
                info.shape
            )
            for name, info in made.tensors.items()
        }


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
