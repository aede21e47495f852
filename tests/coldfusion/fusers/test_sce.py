"""SCE: select by variance, weigh by energy, erase what opposes the elected sign."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldfusion.errors import ConfigError
from coldfusion.fusers import fuser_named, make_options
from coldfusion.fusers.arrays import fuse_arrays
from coldfusion.fusers.sce import deviation

SCE = fuser_named("sce")


def sce(*deltas: Any, weights: tuple[float, ...] | None = None, select_topk: float = 1.0) -> list[float]:
    named = {f"{i}": np.array(delta, np.float32) for i, delta in enumerate(deltas)}
    weight = None if weights is None else dict(zip(named, weights, strict=True))
    fused = fuse_arrays(SCE, named, weights=weight, options={"select_topk": select_topk})
    return fused.tolist()  # type: ignore[no-any-return]


def test_weights_are_energies_and_opposition_is_erased() -> None:
    # Energies 5 and 17. The second coordinate sums to 0, which elects +.
    assert sce([2, 1], [4, -1]) == pytest.approx([(5 * 2 + 17 * 4) / 22, 1], rel=1e-7)


def test_positions_that_vary_most_are_selected_and_energies_taken_over_them() -> None:
    # Variances 1, 2.25, 0 and 4: of 3 that vary, 2 are selected. Energies of those: 1 + 1, 4 + 25.
    fused = sce([2, 1, 3, 1], [4, -2, 3, 5], select_topk=0.7)
    assert fused == pytest.approx([0, -2, 0, (2 * 1 + 29 * 5) / 31], rel=1e-9)


def test_positions_that_tie_are_selected_together() -> None:
    assert np.count_nonzero(sce([1, 1, 1], [3, 3, 2], select_topk=0.4)) == 2


def test_at_least_one_position_is_selected() -> None:
    assert sce([1, 2], [2, 5], select_topk=0.01)[1] != 0
    assert sce([4], [4], select_topk=0.5) == [4]


def test_identical_deltas_give_that_delta() -> None:
    delta = [0.1, -0.7, 0.0, 3.0]
    for share in (0.5, 1.0):
        assert sce(delta, delta, delta, select_topk=share) == np.array(delta, np.float32).tolist()


def test_select_topk_zero_selects_nothing() -> None:
    assert sce([1, 2], [3, 4], select_topk=0.0) == [0, 0]


def test_small_deltas_are_weighed_like_large_ones() -> None:
    # mergekit's weights become uniform below a sum of mean squares of 1e-6: 1.6e-10 here.
    large, small = sce([1, 2], [3, 4]), sce([2**-17, 2**-16], [3 * 2**-17, 2**-15])
    assert small == [value * 2**-17 for value in large]
    assert large == pytest.approx([(5 + 3 * 25) / 30, (10 + 100) / 30], rel=1e-7)


def test_a_short_delta_that_alone_agrees_counts_in_full() -> None:
    # Its weight is 1e-8 of the other's; mergekit divides by at least 1e-6.
    assert sce([1e-4, 1e-4], [1, -1e-8]) == pytest.approx([1, 1e-4], rel=1e-6)


def test_given_weights_multiply_votes_and_energies() -> None:
    # Votes 3 * 2 and -4; energies 3 * 4 and 16.
    assert sce([2], [-4], weights=(3, 1)) == [2]
    assert sce([2], [4], weights=(3, 1)) == pytest.approx([(12 * 2 + 16 * 4) / 28], rel=1e-7)


def test_weights_that_cancel_are_refused() -> None:
    with pytest.raises(ConfigError, match="weights sum to 0"):
        sce([1], [2], weights=(1, -1))


def test_a_share_outside_its_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="select_topk 2.0 is not within 0 and 1"):
        make_options(SCE, {"select_topk": 2.0})


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=9), st.randoms())
def test_the_deviation_does_not_depend_on_the_order(values: list[float], random: Any) -> None:
    shuffled = random.sample(values, len(values))
    found = [deviation(np.array(row, np.float32)[:, None]).item() for row in (values, shuffled)]
    assert found[0] == found[1] == pytest.approx(np.std(values), rel=1e-6, abs=1e-12)
