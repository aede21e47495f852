import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from coldfusion.codecs import CODECS

ANY_FP32 = hnp.arrays(np.uint32, 8, elements=st.integers(0, 2**32 - 1))
EXACT = CODECS["exact"]


def test_exact_counts_units_in_the_last_place() -> None:
    base = np.array([1.0, 1.0, 0.0, -1.0], np.float32)
    finetuned = np.array([1 + 2.0**-23, 1 - 2.0**-24, 2.0**-149, -1 - 2.0**-23], np.float32)
    assert EXACT.encode(base, finetuned, "F32").tolist() == [1, -1, 1, -1]


def test_exact_gives_back_a_number_whose_last_bits_fp32_would_lose() -> None:
    base, finetuned = np.array([1e-3], np.float32), np.array([1.2345678e-8], np.float32)
    decoded = EXACT.decode(base, EXACT.encode(base, finetuned, "F32"), "F32") + base
    rounded = CODECS["float32"].decode(base, CODECS["float32"].encode(base, finetuned, "F32"), "F32") + base
    assert np.float32(decoded[0]) == finetuned[0] != np.float32(rounded[0])


@given(base=ANY_FP32, finetuned=ANY_FP32)
def test_exact_round_trips_every_bit_pattern(base: np.ndarray, finetuned: np.ndarray) -> None:
    from coldfusion.codecs import _ordered

    a, b = base.view(np.float32), finetuned.view(np.float32)
    stored = _ordered(b, "F32") - _ordered(a, "F32")
    assert _ordered(_ordered(a, "F32") + stored, "F32").view(np.uint32).tolist() == finetuned.tolist()


def test_a_bf16_base_needs_half_the_bytes_of_fp32() -> None:
    assert EXACT.stored_dtype("BF16") == "I16"
