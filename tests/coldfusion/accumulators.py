"""A base, five contributions to it, and an accumulator to put them into."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from coldfusion.checkpoint import Checkpoint
from coldfusion.codecs import CODECS
from coldfusion.deltas import write_delta
from coldfusion.engine.accumulator import Accumulator
from coldfusion.engine.crews import Threads
from coldfusion.engine.fusing import Rule, fuse_cohort
from coldfusion.engine.sources import CheckpointSource, Cohort, DeltaSource, Source
from coldfusion.engine.spans import SPAN
from coldfusion.fusers import fuser_named, make_options
from coldfusion.tensorfile import TensorFile
from tests.coldfusion.cohorts import files
from tests.helpers import finetuned, small_body, write_checkpoint

KEYS = ("alice", "bob", "carol", "dave", "erin")


@dataclass
class Room:
    """A base of two shards, five contributions to it, and a place to work in."""

    path: Path
    base: Checkpoint
    sources: dict[str, Source]

    def new(self) -> Accumulator:
        (self.path / "sum").unlink(missing_ok=True)
        return Accumulator.create(self.path / "sum", self.base)

    def fused(self, accumulator: Accumulator, outer_lr: float = 1.0) -> dict[str, bytes]:
        accumulator.fused(fresh(self.path / "fused"), outer_lr=outer_lr)
        return files(self.path / "fused")

    def fused_at_once(self, weights: Mapping[str, int], outer_lr: float = 1.0) -> dict[str, bytes]:
        """What the engine writes for this cohort."""
        cohort, mean = Cohort(self.base, tuple(self.sources[key] for key in weights)), fuser_named("mean")
        numbers = tuple(float(weights[key]) for key in cohort.keys)
        rule = Rule(fuser=mean, options=make_options(mean, {}), weights=numbers, outer_lr=outer_lr)
        fuse_cohort(cohort, rule, fresh(self.path / "at once"), crew=Threads(1))
        return files(self.path / "at once")

    @property
    def digest(self) -> str:
        return hashlib.sha256((self.path / "sum").read_bytes()).hexdigest()


def fresh(folder: Path) -> Path:
    for file in folder.iterdir() if folder.exists() else ():
        file.unlink()
    folder.mkdir(exist_ok=True)
    return folder


def sharded(folder: Path, body: Mapping[str, np.ndarray]) -> Checkpoint:
    """A checkpoint of two files and an index."""
    folder.mkdir(parents=True)
    names = sorted(body)
    shard_of = {name: f"model-{1 + (i > 2)}.safetensors" for i, name in enumerate(names)}
    for shard in set(shard_of.values()):
        save_file({n: np.array(body[n], order="C") for n in names if shard_of[n] == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shard_of}))
    return Checkpoint(folder)


def furnished(path: Path) -> Room:
    body = small_body() | {
        "big": np.random.default_rng(9).normal(0, 0.02, SPAN + 1000).astype(np.float32),
        "half": np.linspace(-1, 1, 6).astype(np.float16),
        "double": np.linspace(-1, 1, 6),
        "empty": np.zeros((0, 3), np.float32),
        "position_ids": np.arange(4),
    }
    base = sharded(path / "base", body)
    floats = {name: tensor for name, tensor in body.items() if name != "position_ids"}
    sources: dict[str, Source] = {}
    for i, key in enumerate(KEYS):
        tuned = {n: np.array(t, body[n].dtype, order="C") for n, t in finetuned(floats, seed=i).items()}
        if key in ("dave", "erin"):  # of whom one brings no values
            codec = "exact" if key == "dave" else "float32"
            write_delta(base, tuned.__getitem__, path / key, codec=codec)
            sources[key] = DeltaSource(key, TensorFile(path / key), CODECS[codec])
        else:
            sources[key] = CheckpointSource(key, Checkpoint(write_checkpoint(path / key, tuned)))
    return Room(path, base, sources)
