"""Adapters of a few numbers, written as PEFT writes them; without PEFT, which takes seconds to import."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from coldfusion.dtypes import narrow
from coldfusion.tensorfile import TensorInfo
from coldfusion.tensorwriter import TensorWriter

A, B = "base_model.model.{}.lora_A.weight", "base_model.model.{}.lora_B.weight"
PLAIN = {"peft_type": "LORA", "lora_alpha": 3, "init_lora_weights": True}


def write(
    folder: Path, tensors: Mapping[str, np.ndarray], config: Mapping[str, Any] = PLAIN, *, dtype: str = "F32"
) -> Path:
    """An adapter with these tensors and settings."""
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({**PLAIN, **config}))
    infos = [TensorInfo(name, dtype, values.shape) for name, values in tensors.items()]
    with TensorWriter(folder / "adapter_model.safetensors", infos, {}) as out:
        for name, values in tensors.items():
            out.write(name, 0, narrow(np.float64(values).reshape(-1), dtype))
    return folder


def pair(module: str, rows: int = 3, columns: int = 2, rank: int = 1) -> dict[str, np.ndarray]:
    """The two factors of a module."""
    return {A.format(module): np.ones((rank, columns)), B.format(module): np.ones((rows, rank))}
