"""What every codec keeps."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldfusion.codecs import CODECS, codec_named
from coldfusion.dtypes import STORAGE, narrow, widen
from coldfusion.errors import ConfigError

# Numbers like those of a model: no further apart than 2**28, so that fp64 holds their difference.
NUMBERS = st.floats(2.0**-14, 2.0**14) | st.floats(-(2.0**14), -(2.0**-14)) | st.just(0.0)
PAIRS = hnp.arrays(np.float64, (2, 6), elements=NUMBERS)


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
@given(pair=PAIRS)
def test_decoding_gives_finetuned_minus_base(codec: str, dtype: str, pair: np.ndarray) -> None:
    base = narrow(pair[0] if dtype != "F16" else pair[0] / 8, dtype)
    finetuned = widen(narrow(pair[1] if dtype != "F16" else pair[1] / 8, dtype), dtype)
    stored = CODECS[codec].encode(base, finetuned, dtype)
    delta = CODECS[codec].decode(base, stored, dtype)
    exact = finetuned - widen(base, dtype)
    assert stored.dtype == STORAGE[CODECS[codec].stored_dtype(dtype)]
    np.testing.assert_allclose(delta, exact, rtol=0 if codec == "exact" else 2.0**-24, atol=0)


def test_the_sign_is_finetuned_minus_base(codec: str) -> None:
    base, finetuned = np.array([1.0], np.float32), np.array([1.5], np.float32)
    delta = CODECS[codec].decode(base, CODECS[codec].encode(base, finetuned, "F32"), "F32")
    assert delta.tolist() == [0.5]


def test_no_training_is_a_delta_of_zeros(codec: str) -> None:
    base = np.array([0.0, -0.0, 1.5, -3e-20], np.float32)
    assert not CODECS[codec].encode(base, base, "F32").any()


def test_what_is_not_finite_stays_so(codec: str) -> None:
    base, finetuned = np.ones(3, np.float32), np.array([np.nan, np.inf, -np.inf], np.float32)
    delta = CODECS[codec].decode(base, CODECS[codec].encode(base, finetuned, "F32"), "F32")
    assert not np.isfinite(delta).any()


def test_an_unknown_codec_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="unknown codec 'zip'; known: exact, float32"):
        codec_named("zip")
