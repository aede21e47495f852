"""Checkpoints to measure on: an encoder's layout, the values of a base and of ordinary fine-tunes of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coldfusion.checkpoint import WEIGHTS
from coldfusion.dtypes import narrow
from coldfusion.errors import ConfigError, writing
from coldfusion.tensorfile import TensorFile, TensorInfo
from coldfusion.tensorwriter import TensorWriter

DISTINCT = 8
"""So many contributions differ; further ones are links to these, which saves disk and changes no cost."""

DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
BASE_STD, DELTA_STD = 0.02, 1e-3
_LAYERS, _HEADS, _PIECE = 12, 12, 1 << 20


@dataclass(frozen=True, slots=True)
class Inputs:
    """A base and contributions on the disk, each a directory with config.json and one safetensors file."""

    room: Path
    dtype: str
    parameters: int
    count: int

    @property
    def base(self) -> Path:
        return self.room / "base"

    def contributions(self, count: int) -> list[Path]:
        return [self.room / f"contribution-{i:02}" for i in range(count)]

    @property
    def megabytes(self) -> float:
        """Of one checkpoint, in 10^6 bytes."""
        return (self.base / WEIGHTS).stat().st_size / 1e6

    def warm(self) -> None:
        """Bring every file into the page cache."""
        buffer = bytearray(_PIECE)
        for folder in (self.base, *self.contributions(min(self.count, DISTINCT))):
            with (folder / WEIGHTS).open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


def make_inputs(room: Path, parameters: int, count: int, dtype: str) -> Inputs:
    """A base of about so many parameters and `count` contributions; what is there already is used.

    Raises ConfigError where `room` holds inputs of another size or dtype.
    """
    shapes, config = layout(parameters)
    infos = [TensorInfo(name, DTYPES[dtype], shape) for name, shape in sorted(shapes.items())]
    inputs = Inputs(room, dtype, sum(info.count for info in infos), count)
    config["torch_dtype"] = dtype
    for i, folder in enumerate((inputs.base, *inputs.contributions(count))):
        weights = folder / WEIGHTS
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
            if i > DISTINCT and not weights.exists():
                weights.symlink_to(inputs.contributions(count)[(i - 1) % DISTINCT].absolute() / WEIGHTS)
        if not weights.exists():
            _write(weights, infos, i)
        elif not _holds(weights, infos):
            raise ConfigError(f"{weights}: other inputs than these are there; name another directory")
    return inputs


def _holds(path: Path, infos: list[TensorInfo]) -> bool:
    with TensorFile(path) as file:
        return list(file.tensors.values()) == infos


def _write(path: Path, infos: list[TensorInfo], number: int) -> None:
    """Number 0 is the base, i the base plus the i-th delta."""
    with TensorWriter(path, infos, {"format": "pt"}) as out:
        for k, info in enumerate(infos):
            for start in range(0, info.count, _PIECE):
                size = min(_PIECE, info.count - start)
                values = _normal((0, k, start), size) * np.float32(BASE_STD)
                if number:
                    values += _normal((number, k, start), size) * np.float32(DELTA_STD)
                out.write(info.name, start, narrow(values.astype(np.float64), info.dtype))


def _normal(key: tuple[int, ...], size: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.random.Generator(np.random.SFC64(key)).standard_normal(size, dtype=np.float32)


def layout(parameters: int) -> tuple[dict[str, tuple[int, ...]], dict[str, object]]:
    """Tensors and config of a RoBERTa with the proportions of its base size, 768 wide at 125 M."""
    width = _HEADS * max(1, round((parameters / 211) ** 0.5 / _HEADS))
    vocabulary, positions = 50265 * width // 768, 514
    prefix, shapes = "roberta.embeddings", dict[str, tuple[int, ...]]()
    shapes[f"{prefix}.word_embeddings.weight"] = (vocabulary, width)
    shapes[f"{prefix}.position_embeddings.weight"] = (positions, width)
    shapes[f"{prefix}.token_type_embeddings.weight"] = (1, width)
    shapes |= _norm(f"{prefix}.LayerNorm", width)
    for i in range(_LAYERS):
        layer = f"roberta.encoder.layer.{i}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value"):
            shapes |= _dense(f"{layer}.{part}", width, width)
        shapes |= _dense(f"{layer}.attention.output.dense", width, width)
        shapes |= _norm(f"{layer}.attention.output.LayerNorm", width)
        shapes |= _dense(f"{layer}.intermediate.dense", 4 * width, width)
        shapes |= _dense(f"{layer}.output.dense", width, 4 * width)
        shapes |= _norm(f"{layer}.output.LayerNorm", width)
    shapes |= _dense("lm_head.dense", width, width) | _norm("lm_head.layer_norm", width)
    shapes["lm_head.bias"] = (vocabulary,)
    return shapes, _config(width, vocabulary, positions)


def _config(width: int, vocabulary: int, positions: int) -> dict[str, object]:
    return {
        "model_type": "roberta",
        "architectures": ["RobertaForMaskedLM"],
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_attention_heads": _HEADS,
        "num_hidden_layers": _LAYERS,
        "vocab_size": vocabulary,
        "max_position_embeddings": positions,
        "type_vocab_size": 1,
        "tie_word_embeddings": True,
    }


def _dense(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
