"""How a delta travels: a codec turns (base, finetuned) into stored tensors and back into finetuned - base.

This module is the only place that knows the sign: delta = finetuned - base, the task vector of Ilharco et
al. 2023 (the pseudo-gradient of FedOpt and DiLoCo is its negative).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from coldfusion.dtypes import STORAGE, Array, Float64, narrow, widen
from coldfusion.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Codec:
    """A pair of inverse functions on arrays of equal shape, and the dtype that it stores.

    stored_dtype(base dtype) -> safetensors dtype of the delta;
    encode(base raw, finetuned in fp32 or fp64, base dtype) -> stored;
    decode(base raw, stored, base dtype) -> finetuned - base, fp64;
    restore(base raw, stored, base dtype) -> finetuned raw; None where the codec keeps only the difference.
    """

    stored_dtype: Callable[[str], str]
    encode: Callable[[Array, Array, str], Array]
    decode: Callable[[Array, Array, str], Float64]
    restore: Callable[[Array, Array, str], Array] | None = None


_INTEGER = {"F64": "I64", "F32": "I32", "F16": "I16", "BF16": "I16"}


def _ordered(raw: Array, dtype: str) -> Array:
    """Bit patterns as integers that sort like the floats they stand for. Its own inverse.

    Negative floats sort backwards in sign-and-magnitude form; flipping their magnitude bits mends that.
    """
    bits = raw.view(STORAGE[_INTEGER[dtype]])
    ordered: Array = bits >> (bits.itemsize * 8 - 1)
    ordered &= np.iinfo(bits.dtype).max
    ordered ^= bits
    return ordered


def _encode_exact(base: Array, finetuned: Array, dtype: str) -> Array:
    rounded = narrow(finetuned.astype(np.float64), dtype)  # changes nothing unless the base is narrower
    return _ordered(rounded, dtype) - _ordered(base, dtype)


def _restore_exact(base: Array, stored: Array, dtype: str) -> Array:
    ordered = _ordered(base, dtype)
    ordered += stored
    return _ordered(ordered, dtype).view(STORAGE[dtype])


def _decode_exact(base: Array, stored: Array, dtype: str) -> Float64:
    with np.errstate(invalid="ignore"):
        return widen(_restore_exact(base, stored, dtype), dtype) - widen(base, dtype)


def _encode_float32(base: Array, finetuned: Array, dtype: str) -> Array:
    with np.errstate(invalid="ignore"):
        return narrow(finetuned.astype(np.float64) - widen(base, dtype), "F32")


def _decode_float32(base: Array, stored: Array, dtype: str) -> Float64:
    return widen(stored, "F32")


CODECS: dict[str, Codec] = {
    # The distance from base to finetuned in units in the last place. Lossless, and as large as the tensor
    # itself: half of an fp32 delta for a bf16 base. A difference in fp32 can not always give the finetuned
    # value back: where that is much smaller than the base's, its last bits fall off.
    "exact": Codec(_INTEGER.__getitem__, _encode_exact, _decode_exact, _restore_exact),
    # finetuned - base rounded to fp32: readable by any tool, at most half an ulp of the delta away.
    "float32": Codec(lambda dtype: "F32", _encode_float32, _decode_float32),
}


def codec_named(name: str) -> Codec:
    """The codec called `name` in a manifest or a policy."""
    if name not in CODECS:
        raise ConfigError(f"unknown codec {name!r}; known: {', '.join(CODECS)}")
    return CODECS[name]
