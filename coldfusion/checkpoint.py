"""A checkpoint as transformers writes it: one safetensors file, or shards with an index."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from coldfusion.dtypes import Array
from coldfusion.errors import BaseError, NotOnHub, TensorMismatch
from coldfusion.native.kernels import Stretch
from coldfusion.places import WEIGHTS as WEIGHTS
from coldfusion.places import Directory, Place, again, contents
from coldfusion.tensorfile import TensorFile, TensorInfo

INDEX = "model.safetensors.index.json"


class Checkpoint:
    """The tensors of a checkpoint, read by name and range whatever file they are in.

    Raises BaseError where there is no checkpoint, or where an index does not say what its shards hold.
    """

    def __init__(self, place: Path | Place) -> None:
        self.place = Directory(place) if isinstance(place, Path) else place
        names = self.place.names()
        self.index = contents(self.place, INDEX) if INDEX in names else None
        """What the index says, where there is one."""
        with ExitStack() as stack:
            self.shards = {
                name: stack.enter_context(_open_shard(self.place, name))
                for name in _shard_names(self.place, names, self.index)
            }
            self._shard_of = {tensor: shard for shard, file in self.shards.items() for tensor in file.tensors}
            self._check_index()
            self._close = stack.pop_all()

    @property
    def tensors(self) -> dict[str, TensorInfo]:
        """Every tensor, in the order of the shards and of the tensors in them."""
        return {name: info for file in self.shards.values() for name, info in file.tensors.items()}

    @property
    def files(self) -> list[str]:
        """The names of the files that hold or describe its weights: shards, then the index if any."""
        return [*self.shards, *([INDEX] if self.index is not None else [])]

    @property
    def body(self) -> dict[str, TensorInfo]:
        """The tensors that are trained and fused: the floating-point ones. The others stay as they are."""
        return {name: info for name, info in self.tensors.items() if info.is_float}

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Elements [start, stop) of the flattened tensor, 1-d, in storage dtype."""
        return self.shards[self._shard_of[name]].read(name, start, stop)

    def read_into(self, name: str, start: int, out: Array) -> None:
        """The same into `out`, 1-d, contiguous and in storage dtype: as many elements as it holds."""
        self.shards[self._shard_of[name]].read_into(name, start, out)

    def stretch(self, name: str, start: int) -> Stretch | None:
        """Where the elements of a tensor lie from `start` on, if that is a file of this machine."""
        return self.shards[self._shard_of[name]].stretch(name, start)

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self._close.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return again, (_opened_anew, self.place, tuple(file.fingerprint() for file in self.shards.values()))

    def _check_index(self) -> None:
        """An index that lies would make two readers see two models."""
        if sum(len(file.tensors) for file in self.shards.values()) != len(self._shard_of):
            raise BaseError(f"{self.place.address}: a tensor is in two shards")
        if self.index is not None and (claimed := _weight_map(self.place, self.index)) != self._shard_of:
            odd = sorted(set(claimed.items()) ^ set(self._shard_of.items()))
            raise BaseError(f"{_index_of(self.place)}: does not match its shards, first at {odd[0][0]!r}")


def weight_files(directory: Path) -> list[str]:
    """What `Checkpoint.files` of a directory would be, without opening the shards."""
    place = Directory(directory)
    names = place.names()
    index = contents(place, INDEX) if INDEX in names else None
    return [*_shard_names(place, names, index), *([INDEX] if index is not None else [])]


def _opened_anew(place: Place, fingerprints: tuple[str, ...]) -> Checkpoint:
    checkpoint = Checkpoint(place)
    for shard, expected in zip(checkpoint.shards.values(), fingerprints, strict=True):
        shard.check(expected)
    return checkpoint


def _open_shard(place: Place, name: str) -> TensorFile:
    try:
        return TensorFile(place.open(name))
    except (FileNotFoundError, NotOnHub) as exc:
        raise BaseError(f"{place.address}/{name}: named in {INDEX}, not there") from exc
    except TensorMismatch as exc:
        raise BaseError(str(exc)) from exc


def _shard_names(place: Place, names: Collection[str], index: bytes | None) -> list[str]:
    if index is not None:
        return sorted(set(_weight_map(place, index).values()))
    if WEIGHTS in names:
        return [WEIGHTS]
    raise BaseError(f"{place.address}: no {WEIGHTS}, no {INDEX} there; save the model as safetensors first")


def _weight_map(place: Place, index: bytes) -> dict[str, str]:
    try:
        entries = json.loads(index)["weight_map"]
        names = {str(tensor): str(shard) for tensor, shard in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise BaseError(f"{_index_of(place)}: not a weight index: {exc!r}") from exc
    if odd := sorted(shard for shard in names.values() if Path(shard).name != shard):
        raise BaseError(f"{_index_of(place)}: shard {odd[0]!r} is not a file name")
    return names


def _index_of(place: Place) -> str:
    return f"{place.address}/{INDEX}"
