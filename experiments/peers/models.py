"""Small models for comparing values: a base and fine-tunes of it, from a seed, with integer arithmetic.

The recordings of other tools hold what came out; what went in is made again from here, without torch and the
same on every machine, whatever numpy's distributions may become.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Model = dict[str, Float32]
Shapes = Mapping[str, tuple[int, ...]]

BASE_STEP, DELTA_STEP = 2.0**-21, 2.0**-25  # standard deviations of 0.018 and 0.0011
SMALL = 1 / 32
"""What scales the deltas of a short fine-tune, where the constants in other tools' code begin to show."""


def base_model(shapes: Shapes) -> Model:
    """N(0, 0.018)-like values, around 1 for the weights of norms, as after pre-training."""
    return {name: values(f"base/{name}", shape, BASE_STEP) + _center(name) for name, shape in shapes.items()}


def fine_tuned(shapes: Shapes, key: str, kind: str = "ordinary") -> Model:
    """The base after contributor `key` fine-tuned it, in fp32."""
    base = base_model(shapes)
    return {name: base[name] + _wanted(key, name, shape, kind) for name, shape in shapes.items()}


def deltas(shapes: Shapes, key: str, kind: str = "ordinary") -> Model:
    """finetuned - base, in fp32, which is what a contribution holds."""
    base, tuned = base_model(shapes), fine_tuned(shapes, key, kind)
    return {name: tuned[name] - base[name] for name in shapes}


def _wanted(key: str, name: str, shape: tuple[int, ...], kind: str) -> Float32:
    """What fine-tuning moves: a part that all contributors share, and a part of this one's own."""
    own, shared = values(f"{key}/{name}", shape, DELTA_STEP), values(f"all/{name}", shape, DELTA_STEP)
    if kind == "small":
        return (own + shared) * np.float32(SMALL)
    if kind == "opposed":  # the first two pull in opposite directions, the third in one of its own
        return own if key == "c" else shared * np.float32(1 if key == "a" else -1)
    if kind == "coarse":  # few different magnitudes, so that many stand at any threshold
        return (np.round((own + shared) * 2.0**10) / 2.0**10).astype(np.float32)
    return own + shared


def values(seed: str, shape: tuple[int, ...], step: float) -> Float32:
    """Sums of four uniform 16-bit integers, which are nearly normal, times `step`, a power of two: exact."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "little")
    raw = np.random.PCG64(number).random_raw(int(np.prod(shape, dtype=int)))
    sums = raw.astype("<u8").view("<u2").reshape(-1, 4).sum(axis=1, dtype=np.int64) - 2 * 0xFFFF
    flat: Float32 = (sums * step).astype(np.float32)
    return flat.reshape(shape)


def _center(name: str) -> np.float32:
    return np.float32(1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0)
