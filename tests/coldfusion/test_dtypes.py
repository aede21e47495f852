import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coldfusion.dtypes import STORAGE, narrow, widen, widen_into

TORCH = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16}


def test_bf16_is_the_upper_half_of_an_fp32() -> None:
    assert widen(np.array([0x3F80, 0xC000, 0x0001], dtype=np.uint16), "BF16").tolist() == [
        1.0,
        -2.0,
        2.0**-133,
    ]


def test_rounding_to_bf16_goes_to_the_even_neighbour() -> None:
    # bf16 has 8 significant bits: between 1 and 2 the spacing is 2**-7.
    halfway_to_even, halfway_to_odd = 1 + 2.0**-8, 1 + 3 * 2.0**-8
    assert widen(narrow(np.array([halfway_to_even, halfway_to_odd]), "BF16"), "BF16").tolist() == [
        1.0,
        1 + 2.0**-6,
    ]


def test_fp64_is_rounded_to_bf16_once() -> None:
    # Rounded to fp32 first this is exactly halfway, and would go down to 1.0.
    just_above_halfway = 1 + 2.0**-8 + 2.0**-40
    assert widen(narrow(np.array([just_above_halfway]), "BF16"), "BF16").tolist() == [1 + 2.0**-7]


def test_special_values_survive() -> None:
    values = np.array([np.nan, np.inf, -np.inf, -0.0, 1e39])
    back = widen(narrow(values, "BF16"), "BF16")
    assert np.isnan(back[0]) and back[1:3].tolist() == [np.inf, -np.inf]
    assert back[3] == 0 and np.signbit(back[3]) and back[4] == np.inf


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
@given(values=hnp.arrays(np.float32, 8, elements=st.floats(width=32, allow_nan=False)))
def test_widening_undoes_narrowing_of_what_fits(dtype: str, values: np.ndarray) -> None:
    stored = narrow(values.astype(np.float64), dtype)
    again = narrow(widen(stored, dtype), dtype)
    assert again.tobytes() == stored.tobytes()


@given(values=hnp.arrays(np.float32, 8, elements=st.floats(width=32, allow_nan=False)))
def test_bf16_agrees_with_torch(values: np.ndarray) -> None:
    theirs = torch.from_numpy(values).to(torch.bfloat16).view(torch.uint16).numpy()
    assert narrow(values.astype(np.float64), "BF16").tobytes() == theirs.tobytes()


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
@pytest.mark.parametrize("finite", [True, False])
def test_every_half_is_widened_in_place_as_it_is_by_itself(dtype: str, finite: bool) -> None:
    raw = np.arange(65536, dtype=np.uint16).view(STORAGE[dtype])
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
        raw = raw[np.isfinite(widen(raw, dtype))] if finite else raw
        out, expected = np.empty(raw.size, np.float32), widen(raw, dtype).astype(np.float32)
        widen_into(raw, dtype, out)
    np.testing.assert_array_equal(out, expected)
    assert (np.signbit(out) == np.signbit(expected))[~np.isnan(out)].all()
