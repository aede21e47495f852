"""LoRA adapters as PEFT writes them, read as the deltas that they stand for.

An average of A's and an average of B's is not the average of the products B A. So each adapter is multiplied
out, piece by piece, in fp64 and with one rounding per term: the terms of rank 1 are added in their order, no
BLAS decides about a bit, and the same adapter gives the same delta on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from coldfusion.dtypes import Float64, widen
from coldfusion.errors import TensorMismatch
from coldfusion.lora.config import CONFIG, read_lora_config
from coldfusion.lora.fit import Names, Product, fitted, sorted_out
from coldfusion.tensorfile import TensorFile, TensorInfo

FACTORS = "adapter_model.safetensors"
BLOCK = 32_768  # elements of a product that are worked on at a time


class Adapter:
    """An open adapter: `tensors` says what it changes of a base, `delta` gives a range of the change.

    base_tensors: what the base holds, by name. An adapter's "base_model.model.<module>.lora_A.weight" belongs
    to the base's "<module>.weight", or to the one tensor that has a prefix more or less than that.
    heads: tensors that are saved whole and that the base does not have; they are a task's own.

    Raises TensorMismatch where it is no plain LoRA, does not fit the base, or holds whole tensors of it.
    """

    def __init__(self, directory: Path, base_tensors: Mapping[str, TensorInfo]) -> None:
        self.directory, self._base = directory, base_tensors
        config = read_lora_config(directory)
        try:
            self._file = TensorFile(directory / FACTORS)
        except FileNotFoundError as exc:
            raise TensorMismatch(f"{directory}: no {FACTORS} there; save it with safe_serialization") from exc
        try:
            modules, self.heads = sorted_out(self._file, Names(base_tensors))
            found = fitted(self._file, config, base_tensors, modules)
        except BaseException:
            self._file.close()
            raise
        self._products = {name: found[name] for name in base_tensors if name in found}
        self._right_of: tuple[str, Float64] = ("", np.zeros((0, 0)))

    @property
    def tensors(self) -> tuple[str, ...]:
        """What it changes of the base, in the base's order. The delta of any other tensor is 0."""
        return tuple(self._products)

    @property
    def transposed(self) -> tuple[str, ...]:
        """Those of them that the base stores as (in, out)."""
        return tuple(name for name, product in self._products.items() if product.is_transposed)

    def delta(self, name: str, start: int = 0, stop: int | None = None) -> Float64:
        """Elements [start, stop) of the flattened delta of the base's tensor `name`, 1-d.

        scale * sum_k B[:, k] A[k, :], summed over k = 0, 1, ... in fp64. Only the rows that are asked for are
        read of the left factor.
        """
        info = self._base[name]
        stop = info.count if stop is None else stop
        product = self._products.get(name)
        if product is None or start >= stop:
            return np.zeros(max(stop - start, 0))
        columns = info.shape[1]
        first, last = start // columns, -(-stop // columns)
        rows = np.empty((last - first, columns))
        right, step = self._right(product), max(1, BLOCK // columns)
        term = np.empty((min(step, len(rows)), columns))
        for top in range(first, last, step):
            bottom = min(top + step, last)
            _multiply(self._left(product, top, bottom), right, rows[top - first : bottom - first], term)
        rows *= product.scale
        return rows.reshape(-1)[start - first * columns : stop - first * columns]

    def _left(self, product: Product, first: int, last: int) -> Float64:
        """Rows [first, last) of the left factor, (last - first, r)."""
        if not product.is_transposed:
            return self._read(product.b, first * product.rank, last * product.rank).reshape(-1, product.rank)
        width = self._file.tensors[product.a].shape[1]
        columns = [self._read(product.a, k * width + first, k * width + last) for k in range(product.rank)]
        return np.stack(columns, axis=1)

    def _right(self, product: Product) -> Float64:
        """The right factor, (r, columns). The last one is kept: tiles of a tensor come one after another."""
        kept, factor = self._right_of
        if kept != product.a:
            a_or_b = product.b if product.is_transposed else product.a
            factor = self._read(a_or_b).reshape(self._file.tensors[a_or_b].shape)
            factor = np.ascontiguousarray(factor.T) if product.is_transposed else factor
            self._right_of = (product.a, factor)
        return factor

    def _read(self, name: str, start: int = 0, stop: int | None = None) -> Float64:
        return widen(self._file.read(name, start, stop), self._file.tensors[name].dtype)

    def close(self) -> None:
        self._file.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened_anew, (self.directory.absolute(), self._base, self._file.fingerprint())

    def __enter__(self) -> Adapter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _opened_anew(directory: Path, base_tensors: Mapping[str, TensorInfo], fingerprint: str) -> Adapter:
    adapter = Adapter(directory, base_tensors)
    adapter._file.check(fingerprint)
    return adapter


def is_adapter(directory: Path) -> bool:
    """Whether a directory holds a PEFT adapter."""
    return (directory / CONFIG).exists()


def _multiply(left: Float64, right: Float64, out: Float64, term: Float64) -> None:
    """left (rows, r) @ right (r, columns) into `out`, term by term. `term`: room for so many rows or more."""
    term = term[: len(out)]
    np.multiply(left[:, 0, None], right[0], out=out)
    for k in range(1, len(right)):
        np.multiply(left[:, k, None], right[k], out=term)
        out += term
