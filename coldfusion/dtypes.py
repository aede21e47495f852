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


LARGEST: dict[str, float] = {
    "F64": float(np.finfo(np.float64).max),
    "F32": float(np.finfo(np.float32).max),
    "F16": float(np.finfo(np.float16).max),
    "BF16": 255 * 2.0**120,
}
"""The largest finite number of each of them."""


def widen(raw: Array, dtype: str) -> Float64:
    """The values of `raw`, stored as `dtype`, in fp64 (exact). Same shape."""
    if dtype == "BF16":
        return (raw.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return raw.astype(np.float64)


def working(*dtypes: str) -> type[np.float32] | type[np.float64]:
    """What tensors of these dtypes are computed in: fp32, which holds them all exactly unless one is fp64."""
    return np.float64 if "F64" in dtypes else np.float32


def widen_into(raw: Array, dtype: str, out: Array) -> None:
    """Put the values of `raw`, stored as `dtype`, into `out` (fp32 or fp64, contiguous, same shape)."""
    if dtype == "BF16" and out.dtype == np.float32:
        bits = out.view(np.uint32)
        bits[...] = raw
        bits <<= 16  # a bfloat16 is the upper half of an fp32
    elif dtype == "F16" and out.dtype == np.float32 and _all_finite_fp16(raw):
        # numpy converts one half at a time. Shifted into place it is an fp32 with an exponent 112 too small;
        # multiplying by 2^112 mends that, for denormals too. The sign goes along by sign extension.
        bits = out.view(np.int32)
        bits[...] = raw.view(np.int16)
        bits <<= 13
        bits &= np.int32(-0x70000001)  # 0x8FFFFFFF: what the sign was extended into
        out *= np.float32(2.0**112)
    elif dtype == "BF16":
        out[...] = (raw.astype(np.uint32) << 16).view(np.float32)
    else:
        out[...] = raw


def _all_finite_fp16(raw: Array) -> bool:
    bits = raw.view(np.uint16)
    return int((bits << 1).max(initial=0)) < 0xF800


def narrow(values: Float64, dtype: str) -> Array:
    """`values` rounded once, to nearest even, into the storage of `dtype`. Same shape.

    A value too large for `dtype` becomes an infinity, as in IEEE 754.
    """
    with np.errstate(over="ignore"):
        if dtype != "BF16":
            return values.astype(STORAGE[dtype])
        nearest = np.ascontiguousarray(values).astype(np.float32)
    rounded = _upper_halves(nearest.view(np.uint32))
    # fp64 -> fp32 -> bf16 rounds twice, which shows only where the first step ended half-way between two
    # bfloat16: there it may have been the rounding that brought it there.
    half_way = np.flatnonzero((nearest.view(np.uint32) & 0xFFFF) == 0x8000)
    if half_way.size:
        flat = np.ascontiguousarray(values).reshape(-1)[half_way]
        rounded.reshape(-1)[half_way] = _upper_halves(_to_fp32_rounding_to_odd(flat))
    if not np.isfinite(nearest.max(initial=0.0)):
        rounded[np.isnan(nearest)] = 0x7FC0
    return rounded


def _upper_halves(bits: NDArray[np.uint32]) -> NDArray[np.uint16]:
    """fp32 patterns rounded to nearest even to their upper 16 bits."""
    rounded = bits >> 16
    rounded &= 1
    rounded += bits
    rounded += 0x7FFF
    rounded >>= 16
    return rounded.astype(np.uint16)


def _to_fp32_rounding_to_odd(values: Float64) -> NDArray[np.uint32]:
    """Rounded to odd (Boldo and Melquiond 2008): the last bit says that something was cut off."""
    with np.errstate(over="ignore"):
        nearest = values.astype(np.float32)
    bits = nearest.view(np.uint32)
    with np.errstate(invalid="ignore"):
        error = values - nearest.astype(np.float64)
    inexact = np.isfinite(error) & (error != 0) & (bits & 1 == 0)
    towards_zero = (error > 0) != (values > 0)
    return bits + np.where(inexact, np.where(towards_zero, np.uint32(0xFFFFFFFF), np.uint32(1)), np.uint32(0))
