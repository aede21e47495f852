"""The border between safetensors' dtypes and numpy's arithmetic: widen on the way in, round once going out.

Floats travel as their raw storage and are computed in fp64. numpy has no bfloat16, so a BF16 tensor is
carried as uint16 bit patterns and widened and rounded here by hand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Float64 = NDArray[np.float64]

STORAGE: dict[str, np.dtype[Any]] = {
    name: np.dtype(code)
    for name, code in {
        "F64": "<f8",
        "F32": "<f4",
        "F16": "<f2",
        "BF16": "<u2",
        "I64": "<i8",
        "I32": "<i4",
        "I16": "<i2",
        "I8": "|i1",
        "U64": "<u8",
        "U32": "<u4",
        "U16": "<u2",
        "U8": "|u1",
        "BOOL": "|b1",
    }.items()
}
"""safetensors dtype -> the numpy dtype that holds its bytes."""

FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
"""The dtypes that are fused; tensors of any other dtype stay the base's."""


def widen(raw: Array, dtype: str) -> Float64:
    """The values of `raw`, stored as `dtype`, in fp64 (exact). Same shape."""
    if dtype == "BF16":
        return (raw.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return raw.astype(np.float64)


def narrow(values: Float64, dtype: str) -> Array:
    """`values` rounded once, to nearest even, into the storage of `dtype`. Same shape.

    A value too large for `dtype` becomes an infinity, as in IEEE 754.
    """
    with np.errstate(over="ignore"):
        if dtype != "BF16":
            return values.astype(STORAGE[dtype])
        # fp64 -> fp32 -> bf16 would round twice. Rounding the first step to odd (Boldo and Melquiond 2008)
        # leaves a trace of what was cut off, so that the second step decides as if it saw the fp64 value.
        bits = _to_fp32_rounding_to_odd(values)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    nan = np.isnan(values)
    return np.where(nan, np.uint32(0x7FC0), rounded).astype(np.uint16)


def _to_fp32_rounding_to_odd(values: Float64) -> NDArray[np.uint32]:
    nearest = np.ascontiguousarray(values).astype(np.float32)
    bits = nearest.view(np.uint32)
    with np.errstate(invalid="ignore"):
        error = values - nearest.astype(np.float64)
    inexact = np.isfinite(error) & (error != 0) & (bits & 1 == 0)
    towards_zero = (error > 0) != (values > 0)
    return bits + np.where(inexact, np.where(towards_zero, np.uint32(0xFFFFFFFF), np.uint32(1)), np.uint32(0))
