"""Model Breadcrumbs: the largest go, the next stay, the rest go."""

from typing import Any

import numpy as np
import pytest

from coldfusion.errors import ConfigError
from coldfusion.fusers import fuser_named, make_options
from coldfusion.fusers.arrays import fuse_arrays

LINEAR, TIES = fuser_named("breadcrumbs"), fuser_named("breadcrumbs_ties")
TEN = np.array([3, -9, 1, 10, 5, -7, 2, 8, -4, 6], np.float32)


def kept(delta: Any = TEN, **options: float) -> list[float]:
    fused: list[float] = fuse_arrays(LINEAR, {"a": np.array(delta, np.float32)}, options=options).tolist()
    return [value for value in fused if value]


def test_the_largest_go_and_the_next_stay() -> None:
    assert kept(gamma=0.1, density=0.3) == [-9, -7, 8]
    assert kept(gamma=0.0, density=0.2) == [-9, 10]


def test_fewer_of_the_largest_go_where_the_density_asks_for_them() -> None:
    assert 10 not in kept(gamma=0.1, density=0.95)  # 9 stay, and 1 may go
    assert sorted(kept(gamma=0.3, density=0.8), key=abs) == [1, 2, 3, -4, 5, 6, -7, 8]


def test_all_of_a_magnitude_stay_where_one_does() -> None:
    assert kept([4, 3, -3, 3, 2, 2, 1, 1, 1, 1], gamma=0.2, density=0.3) == [3, -3, 3, 2, 2]
    assert kept([1.0, 1.0, -1.0, 1.0], gamma=0.25, density=0.5) == [1, 1, -1, 1]


def test_at_least_one_element_stays() -> None:
    assert kept([5.0], density=0.5) == [5]


def test_density_zero_is_nothing_and_one_is_all() -> None:
    assert kept(density=0.0) == []
    assert kept(density=1.0, gamma=0.5) == TEN.tolist()


def test_deltas_are_summed_and_scaled() -> None:
    fused = fuse_arrays(LINEAR, {"a": TEN, "b": TEN}, options={"density": 0.1, "gamma": 0.0, "scale": 0.5})
    assert fused[3] == 10 and np.count_nonzero(fused) == 1


def test_rescaling_makes_up_for_what_is_dropped() -> None:
    options = {"gamma": 0.1, "density": 0.3}
    fused = fuse_arrays(LINEAR, {"a": TEN}, options=options | {"rescale": "l1"})
    assert np.abs(fused).sum() == pytest.approx(55, rel=1e-12)
    fused = fuse_arrays(LINEAR, {"a": TEN}, options=options | {"rescale": "expected"})
    assert np.abs(fused).sum() == pytest.approx(24 / 0.3, rel=1e-15)


def test_with_an_election_only_what_agrees_is_summed() -> None:
    both = {"a": np.array([4.0, 3.0, 1.0]), "b": np.array([-3.0, 4.0, 1.0])}
    assert fuse_arrays(TIES, both, options={"density": 0.7, "gamma": 0.0}).tolist() == [4, 7, 0]


def test_a_gamma_outside_its_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="gamma 1.5 is not within 0 and 1"):
        make_options(LINEAR, {"gamma": 1.5})
