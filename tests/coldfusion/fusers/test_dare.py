"""DARE: what is kept is decided by `sampling`; here is what is done with it."""

import numpy as np
import pytest

from coldfusion.fusers import Fuser, fuser_named
from coldfusion.fusers.arrays import fuse_arrays
from coldfusion.fusers.sampling import keep_evenly

LINEAR, TIES = fuser_named("dare_linear"), fuser_named("dare_ties")
RANDOM = np.random.default_rng(0)
DELTAS = {key: RANDOM.integers(1, 100, 200).astype(np.float32) / 64 for key in "abc"}


def kept(key: str, density: float, seed: int = 0) -> np.ndarray:
    """The delta with zeros where it is dropped."""
    return DELTAS[key] * keep_evenly((seed, key, "weight"), 0, 200, density)


def test_what_is_kept_is_divided_by_the_density() -> None:
    fused = fuse_arrays(LINEAR, {"a": DELTAS["a"]}, options={"density": 0.25})
    np.testing.assert_array_equal(fused, 4 * kept("a", 0.25))
    assert 20 < np.count_nonzero(fused) < 80


def test_linear_is_a_weighted_sum() -> None:
    weights = {"a": 1.0, "b": 2.0, "c": 0.5}
    expected = sum(weight * kept(key, 0.5).astype(float) for key, weight in weights.items())
    options = {"density": 0.5, "rescale": "none"}
    np.testing.assert_array_equal(fuse_arrays(LINEAR, DELTAS, weights=weights, options=options), expected)
    options |= {"normalize": True, "scale": 2.0}
    fused = fuse_arrays(LINEAR, DELTAS, weights=weights, options=options)
    np.testing.assert_allclose(fused, expected * 2 / 3.5, rtol=1e-15)


def test_ties_sums_what_agrees() -> None:
    against = DELTAS | {"c": -DELTAS["c"]}
    rest, opposed = kept("a", 0.5) + kept("b", 0.5), kept("c", 0.5)
    fused = fuse_arrays(TIES, against, options={"density": 0.5, "rescale": "none"})
    np.testing.assert_array_equal(fused, np.where(rest >= opposed, rest, -opposed))


def test_ties_can_average_what_agrees() -> None:
    fused = fuse_arrays(TIES, DELTAS, options={"density": 0.5, "rescale": "none", "normalize": True})
    parts = np.array([kept(key, 0.5) for key in DELTAS])
    np.testing.assert_array_equal(fused, parts.sum(axis=0) / np.maximum((parts > 0).sum(axis=0), 1))


@pytest.mark.parametrize("fuser", [LINEAR, TIES], ids=["linear", "ties"])
def test_l1_keeps_the_sum_of_magnitudes(fuser: Fuser) -> None:
    delta = {"a": np.random.default_rng(1).normal(0, 1e-3, 10_000).astype(np.float32)}
    fused = fuse_arrays(fuser, delta, options={"density": 0.1, "rescale": "l1"})
    assert np.abs(fused).sum() == pytest.approx(np.abs(delta["a"].astype(float)).sum(), rel=1e-11)
    assert 800 < np.count_nonzero(fused) < 1200


def test_l1_of_a_delta_that_lost_everything_is_nothing() -> None:
    dropped = next(s for s in range(99) if not keep_evenly((s, "a", "weight"), 0, 1, 0.5)[0])
    options = {"density": 0.5, "rescale": "l1"}
    assert fuse_arrays(LINEAR, {"a": np.ones(1)}, options=options, seed=dropped).tolist() == [0]


def test_expected_means_that_the_mean_over_rounds_is_the_delta() -> None:
    rounds = [
        fuse_arrays(LINEAR, {"a": np.ones(1000)}, options={"density": 0.2}, seed=s).mean() for s in range(40)
    ]
    assert np.mean(rounds) == pytest.approx(1, abs=5 * 2 / 200)  # an element's deviation is 2


@pytest.mark.parametrize("fuser", [LINEAR, TIES], ids=["linear", "ties"])
def test_density_zero_is_nothing_and_one_is_all(fuser: Fuser) -> None:
    assert not fuse_arrays(fuser, DELTAS, options={"density": 0.0}).any()
    whole = np.sum([delta.astype(float) for delta in DELTAS.values()], axis=0)
    np.testing.assert_array_equal(
        fuse_arrays(fuser, DELTAS, options={"density": 1.0, "rescale": "l1"}), whole
    )


def test_who_comes_late_changes_nobody_elses_mask() -> None:
    options = {"density": 0.5}
    before = fuse_arrays(LINEAR, {key: DELTAS[key] for key in "ac"}, options=options)
    alone = fuse_arrays(LINEAR, {"b": DELTAS["b"]}, options=options)
    np.testing.assert_array_equal(fuse_arrays(LINEAR, DELTAS, options=options), before + alone)


def test_rounds_and_tensors_have_masks_of_their_own() -> None:
    one, options = {"a": DELTAS["a"]}, {"density": 0.5}
    first = fuse_arrays(LINEAR, one, options=options)
    assert (fuse_arrays(LINEAR, one, options=options, seed=1) != first).any()
    assert (fuse_arrays(LINEAR, one, options=options, name="bias") != first).any()
