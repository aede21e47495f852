"""Writing a delta file: the difference between a finetuned body and its base, tensor by tensor.

Heads never leave: a delta has exactly the names of its base's floating-point tensors, and a base has no
head. A tied tensor is in the base once, under one name, and so it is in the delta.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from coldfusion.checkpoint import Checkpoint
from coldfusion.codecs import codec_named
from coldfusion.dtypes import Array
from coldfusion.errors import TensorMismatch
from coldfusion.tensorfile import TensorInfo
from coldfusion.tensorwriter import TensorWriter


def write_delta(base: Checkpoint, finetuned: Callable[[str], Array], path: Path, *, codec: str) -> None:
    """Write `finetuned - base` of the body to `path` as safetensors.

    finetuned: tensor name -> array of the base's shape, in fp32 or fp64. Raises TensorMismatch where the
    shape differs, StorageError when the disk refuses.
    """
    coder = codec_named(codec)
    stored = [
        TensorInfo(info.name, coder.stored_dtype(info.dtype), info.shape) for info in base.body.values()
    ]
    with TensorWriter(path, stored, {}) as out:
        for info in base.body.values():
            values = finetuned(info.name)
            # Shapes are compared first: broadcasting would turn a wrong shape into a wrong number.
            if values.shape != info.shape:
                raise TensorMismatch(f"{info.name}: {list(values.shape)}, the base has {list(info.shape)}")
            out.write(info.name, 0, coder.encode(base.read(info.name), values.reshape(-1), info.dtype))


def check_delta(base: Checkpoint, delta: dict[str, TensorInfo], *, codec: str) -> list[str]:
    """Why a delta with these tensors does not fit the base; no reason where it does."""
    coder, body, reasons = codec_named(codec), base.body, []
    if missing := sorted(body.keys() - delta.keys()):
        reasons.append(f"{len(missing)} tensors are missing, first {missing[0]!r}")
    if extra := sorted(delta.keys() - body.keys()):
        reasons.append(f"{len(extra)} tensors are not in the base, first {extra[0]!r}")
    for name in body.keys() & delta.keys():
        wanted = TensorInfo(name, coder.stored_dtype(body[name].dtype), body[name].shape)
        if delta[name] != wanted:
            got = delta[name]
            reasons.append(
                f"{name}: {got.dtype}{list(got.shape)}, expected {wanted.dtype}{list(wanted.shape)}"
            )
    return _first_of_each(reasons)


def _first_of_each(reasons: list[str], most: int = 5) -> list[str]:
    """A delta of another model differs in every tensor: a few examples say it."""
    return [*sorted(reasons)[:most], *([f"and {len(reasons) - most} more"] if len(reasons) > most else [])]
