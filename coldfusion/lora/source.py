"""A LoRA adapter as a contribution: it counts as the product of its factors, never as the factors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from coldfusion.dtypes import Array
from coldfusion.engine.sources import BaseSpan
from coldfusion.engine.spans import Span
from coldfusion.lora.adapters import Adapter
from coldfusion.tensorfile import TensorFile, TensorInfo


@dataclass(frozen=True, slots=True, eq=False)
class AdapterSource:
    """A LoRA adapter, as the products that its factors stand for."""

    key: str
    adapter: Adapter
    fisher: TensorFile | None = None

    @property
    def brings_values(self) -> bool:
        return False

    def check(self, base: Mapping[str, TensorInfo]) -> None:
        """It was fitted to its base when it was opened."""

    def dtype_of(self, name: str) -> str:
        return "F32"

    def read(self, span: Span, base: BaseSpan, out: Array) -> None:
        del base
        delta = self.adapter.delta(span.info.name, span.start, span.stop)
        # Rounded by the base's dtype alone: `out` is fp64 also where some other input is.
        out[...] = delta if span.info.dtype == "F64" else delta.astype(np.float32)

    def stretch(self, span: Span) -> None:
        return None
