"""What mergekit and Flower made of the small models of experiments/peers, as `record` there left it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from coldfusion.dtypes import Float64
from experiments.peers.cases import WEIGHTS, Case
from experiments.peers.models import Model, Shapes, deltas

DATA = Path(__file__).parent / "data"
ARCHITECTURES = ("bert", "llama")
HALF_ULP = 2.0**-24  # what rounding to fp32 once may change, relative to the largest value


@dataclass(frozen=True)
class Recording:
    """Of one architecture."""

    shapes: Shapes
    outputs: dict[str, np.ndarray[Any, Any]]

    def split(self, flat: np.ndarray[Any, Any]) -> Model:
        """A flat model by tensor."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes.values()])
        pieces = np.split(flat, ends[:-1])
        return {n: p.reshape(self.shapes[n]) for n, p in zip(self.shapes, pieces, strict=True)}

    def merged(self, case: Case) -> Model:
        """What mergekit wrote."""
        return self.split(self.outputs[case.name])

    def kept(self, case: Case) -> dict[tuple[str, str], np.ndarray[Any, Any]]:
        """(contribution, tensor) -> the flat mask that mergekit drew."""
        bits = self.outputs[f"{case.name}.masks"]
        size = sum(int(np.prod(shape)) for shape in self.shapes.values())
        rows = np.unpackbits(bits, axis=1, count=size).astype(bool)
        masks = {key: self.split(row) for key, row in zip(case.models, rows, strict=True)}
        return {(key, name): mask.reshape(-1) for key, of in masks.items() for name, mask in of.items()}

    def deltas(self, case: Case) -> dict[str, Model]:
        """Contribution -> its delta by tensor."""
        return {key: deltas(self.shapes, key, case.kind) for key in case.models}


@lru_cache
def recording(architecture: str) -> Recording:
    with safe_open(DATA / f"{architecture}.safetensors", "numpy") as file:
        shapes = {name: tuple(shape) for name, shape in json.loads(file.metadata()["shapes"]).items()}
        return Recording(shapes, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118


def weights_of(case: Case) -> dict[str, float] | None:
    return {key: WEIGHTS[key] for key in case.models} if case.weighted else None


def difference(ours: Any, theirs: Any) -> float:
    """max |ours - theirs| / max |theirs|."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def beyond_rounding(ours: Float64, theirs: Any, moved: Float64) -> float:
    """The difference relative to the fused delta `moved`, after four fp32 roundings of the result.

    A large base would otherwise hide a delta that is wrong in its fourth digit.
    """
    allowed = 4 * HALF_ULP * np.abs(theirs).max()
    return float((np.abs(ours - theirs).max() - allowed) / np.abs(moved).max())
