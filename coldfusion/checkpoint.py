"""A checkpoint directory as transformers writes it: one safetensors file, or shards with an index."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

from coldfusion.dtypes import Array
from coldfusion.errors import BaseError, TensorMismatch
from coldfusion.tensorfile import TensorFile, TensorInfo

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


class Checkpoint:
    """The tensors of a checkpoint directory, read by name and range whatever file they are in.

    Raises BaseError where there is no checkpoint, or where an index does not say what its shards hold.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with ExitStack() as stack:
            self.shards = {
                name: stack.enter_context(_open_shard(directory / name)) for name in _shard_names(directory)
            }
            self._shard_of = {tensor: shard for shard, file in self.shards.items() for tensor in file.tensors}
            _check_index(directory, self._shard_of, sum(len(f.tensors) for f in self.shards.values()))
            self._close = stack.pop_all()

    @property
    def tensors(self) -> dict[str, TensorInfo]:
        """Every tensor, in the order of the shards and of the tensors in them."""
        return {name: info for file in self.shards.values() for name, info in file.tensors.items()}

    @property
    def body(self) -> dict[str, TensorInfo]:
        """The tensors that are trained and fused: the floating-point ones. The others stay as they are."""
        return {name: info for name, info in self.tensors.items() if info.is_float}

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Elements [start, stop) of the flattened tensor, 1-d, in storage dtype."""
        return self.shards[self._shard_of[name]].read(name, start, stop)

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self._close.close()


def weight_files(directory: Path) -> list[str]:
    """The names of the files that hold or describe a checkpoint's weights: shards, then the index if any."""
    shards = _shard_names(directory)
    return [*shards, INDEX] if (directory / INDEX).exists() else shards


def _open_shard(path: Path) -> TensorFile:
    try:
        return TensorFile(path)
    except FileNotFoundError as exc:
        raise BaseError(f"{path}: named in {INDEX}, not there") from exc
    except TensorMismatch as exc:
        raise BaseError(str(exc)) from exc


def _shard_names(directory: Path) -> list[str]:
    if (directory / INDEX).exists():
        return sorted(set(_weight_map(directory).values()))
    if (directory / WEIGHTS).exists():
        return [WEIGHTS]
    raise BaseError(f"{directory}: no {WEIGHTS} and no {INDEX} there; save the model as safetensors first")


def _weight_map(directory: Path) -> dict[str, str]:
    try:
        entries = json.loads((directory / INDEX).read_text(encoding="utf-8"))["weight_map"]
        names = {str(tensor): str(shard) for tensor, shard in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise BaseError(f"{directory / INDEX}: not a weight index: {exc!r}") from exc
    if odd := sorted(shard for shard in names.values() if Path(shard).name != shard):
        raise BaseError(f"{directory / INDEX}: shard {odd[0]!r} is not a file name")
    return names


def _check_index(directory: Path, shard_of: dict[str, str], tensor_count: int) -> None:
    """An index that lies would make two readers see two models."""
    if tensor_count != len(shard_of):
        raise BaseError(f"{directory}: a tensor is in two shards")
    if (directory / INDEX).exists() and (claimed := _weight_map(directory)) != shard_of:
        odd = sorted(set(claimed.items()) ^ set(shard_of.items()))
        raise BaseError(f"{directory / INDEX}: does not match its shards, first at {odd[0][0]!r}")
