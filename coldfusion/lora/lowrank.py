"""A fused delta as a LoRA adapter again: the nearest product of a given rank, and PEFT's files for it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from coldfusion.dtypes import Float64
from coldfusion.errors import ConfigError, TensorMismatch, writing
from coldfusion.exact.blas import one_blas_thread
from coldfusion.lora.adapters import FACTORS
from coldfusion.lora.config import CONFIG
from coldfusion.lora.fit import PREFIX
from coldfusion.tensorfile import TensorInfo
from coldfusion.tensorwriter import TensorWriter


class Factors(NamedTuple):
    """The product b @ a in place of a matrix."""

    b: Float64  # (out, r)
    a: Float64  # (r, in)
    error: float  # ||matrix - b @ a|| / ||matrix||, Frobenius; 0 for a matrix of zeros


def refactor(delta: Float64, rank: int) -> Factors:
    """The nearest matrix of rank r to `delta` (out, in): its r largest singular components.

    No other of that rank leaves a smaller error (Eckart and Young 1936). b = U sqrt(S) and a = sqrt(S) V^T
    share the size evenly. r is `rank`, or the smaller side of the matrix. LAPACK's last bits are in it, see
    coldfusion.fusers.matrices. Raises ConfigError for a rank below 1, TensorMismatch for what is no matrix.
    """
    if rank < 1:
        raise ConfigError(f"rank is {rank}: give 1 or more")
    if delta.ndim != 2:
        raise TensorMismatch(f"a tensor {list(delta.shape)} has no rank; only matrices can be factored")
    with one_blas_thread():
        u, s, v = np.linalg.svd(delta, full_matrices=False)
    roots = np.sqrt(s[:rank])
    squares = s * s
    left, whole = float(squares[rank:].sum()), float(squares.sum())
    return Factors(u[:, :rank] * roots, roots[:, None] * v[:rank], (left / whole) ** 0.5 if whole else 0.0)


def write_adapter(directory: Path, base_model: str, factors: Mapping[str, Factors], rank: int) -> None:
    """Write a directory that peft.PeftModel.from_pretrained opens on `base_model` (a path or a Hub id).

    factors: by the name of the linear layer's weight in that model ("encoder.layer.0.output.dense.weight").
    They are written in fp32, with rows of zeros up to `rank`, and scale 1 (lora_alpha = r). Raises
    TensorMismatch for another kind of name or more than this rank, StorageError when the disk refuses.
    """
    for name, (b, a, _) in factors.items():
        if not name.endswith(".weight"):
            raise TensorMismatch(f"{name}: an adapter holds weights of linear layers, nothing else")
        if not len(a) == b.shape[1] <= rank:
            raise TensorMismatch(
                f"{name}: factors {list(b.shape)} and {list(a.shape)} are not of rank {rank}"
            )
    modules = {name.removesuffix(".weight"): pair for name, pair in sorted(factors.items())}
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    infos = [info for module, pair in modules.items() for info in _infos(module, pair, rank)]
    with TensorWriter(directory / FACTORS, infos, {"format": "pt"}) as out:
        for module, (b, a, _) in modules.items():
            room = rank - len(a)
            padded = np.pad(a, ((0, room), (0, 0))), np.pad(b, ((0, 0), (0, room)))
            for name, values in zip(_names(module), padded, strict=True):
                out.write(name, 0, values.astype(np.float32).reshape(-1))
    _write_config(directory / CONFIG, base_model, list(modules), rank)


def _names(module: str) -> tuple[str, str]:
    return f"{PREFIX}{module}.lora_A.weight", f"{PREFIX}{module}.lora_B.weight"


def _infos(module: str, pair: Factors, rank: int) -> tuple[TensorInfo, TensorInfo]:
    a, b = _names(module)
    return TensorInfo(a, "F32", (rank, pair.a.shape[1])), TensorInfo(b, "F32", (pair.b.shape[0], rank))


def _write_config(path: Path, base_model: str, modules: list[str], rank: int) -> None:
    config = {
        "base_model_name_or_path": base_model,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": rank,
        "target_modules": modules,
        "task_type": None,
    }
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with writing(path):
        partial.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, path)
