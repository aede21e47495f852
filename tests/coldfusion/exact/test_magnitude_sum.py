"""The sum of magnitudes is close to the true one, and the same in any order of additions."""

import math

import numpy as np
import pytest

from coldfusion.exact.sums import doubled_pattern, magnitude_sum, magnitudes


@pytest.mark.parametrize("size", [0, 1, 100, 4096, 10_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_the_sum_of_magnitudes(size: int, dtype: type) -> None:
    values = np.random.default_rng(size).normal(0, 1e-4, size).astype(dtype)
    assert magnitude_sum(values) == pytest.approx(math.fsum(np.abs(values).tolist()), rel=1e-12)


def test_order_within_a_piece_does_not_show() -> None:
    values = np.random.default_rng(0).normal(size=4096) ** 5
    assert magnitude_sum(values) == magnitude_sum(np.sort(values))


def test_a_pattern_is_what_magnitudes_reports() -> None:
    assert magnitudes(np.array([0, -3, 0.5], np.float32)) == (doubled_pattern(3), doubled_pattern(-0.5))
