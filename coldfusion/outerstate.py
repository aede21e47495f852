"""The outer optimiser's state on the disk: one safetensors file, an fp32 tensor per slot and parameter.

Tensors are named SLOT.PARAMETER; the metadata names the optimiser. The file of a round is written while the
one of the round before is read, range by range, so no more than a tile of either is ever in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from coldfusion.dtypes import Float64
from coldfusion.errors import TensorMismatch
from coldfusion.outer import Float32, OuterOptimiser, OuterStep
from coldfusion.tensorfile import TensorFile, TensorInfo
from coldfusion.tensorwriter import TensorWriter


class OuterState:
    """The state of one outer step: the old file is read, the new one written. A context manager.

    body: the parameters, floating-point tensors of the base. The new file appears under its name when the
    block is left normally. Raises TensorMismatch where the old one is not of this optimiser and this body,
    StorageError when the disk refuses.
    """

    def __init__(self, outer: OuterStep, body: Mapping[str, TensorInfo]) -> None:
        self._optimiser, self._options = outer.optimiser, outer.options
        tensors = state_tensors(outer.optimiser, body)
        with ExitStack() as stack:
            self._old = stack.enter_context(TensorFile(outer.previous)) if outer.previous else None
            if self._old:
                _check(self._old, outer.optimiser, tensors)
            self._new = _writer(outer, tensors)
            if self._new:
                stack.push(self._new)
            self._files = stack.pop_all()

    def advance(self, name: str, start: int, fused: Float64) -> Float64:
        """The step (t,) for elements [start, start + t) of a parameter, fp64; its new state is written.

        Ranges may come in any order and from several threads, each of them once.
        """
        stop = start + len(fused)
        if self._old:
            state = tuple(self._old.read(f"{slot}.{name}", start, stop) for slot in self._optimiser.slots)
        else:
            state = self._optimiser.init(len(fused), self._options)
        after, step = self._optimiser.step(state, fused, self._options)
        for slot, values in zip(self._optimiser.slots, after, strict=True):
            self._write(f"{slot}.{name}", start, values)
        return step

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs, which writes and leaves the closing to this one."""
        return {name: value for name, value in self.__dict__.items() if name != "_files"}

    def __enter__(self) -> OuterState:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, raised, trace)

    def _write(self, name: str, start: int, values: Float32) -> None:
        if self._new:
            self._new.write(name, start, values)


def state_tensors(optimiser: OuterOptimiser, body: Mapping[str, TensorInfo]) -> list[TensorInfo]:
    """What a state file holds: for every parameter, in the order of `body`, its slots."""
    return [TensorInfo(f"{slot}.{i.name}", "F32", i.shape) for i in body.values() for slot in optimiser.slots]


def _writer(outer: OuterStep, tensors: list[TensorInfo]) -> TensorWriter | None:
    if not outer.optimiser.slots:
        return None
    metadata = {"format": "coldfusion-outer", "optimiser": outer.optimiser.name}
    return TensorWriter(outer.into, tensors, metadata)


def _check(file: TensorFile, optimiser: OuterOptimiser, tensors: list[TensorInfo]) -> None:
    if (found := file.metadata.get("optimiser")) != optimiser.name:
        raise TensorMismatch(f"{file.path}: state of {found!r}, not of {optimiser.name!r}")
    wanted = {info.name: info for info in tensors}
    odd = [n for n in sorted(wanted.keys() | file.tensors.keys()) if wanted.get(n) != file.tensors.get(n)]
    if odd:
        raise TensorMismatch(f"{file.path}: {len(odd)} tensors are not the base's, first {odd[0]!r}")
