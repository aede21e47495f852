import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldfusion.errors import ConfigError, TensorMismatch
from coldfusion.fusers.arrays import fuse_arrays
from coldfusion.fusers.fisher import FISHER, FisherOptions

(RULE,) = FISHER
Named = dict[str, np.ndarray]


def arrays(**values: list[float]) -> Named:
    return {key: np.array(value, np.float32) for key, value in values.items()}


def drawn(seed: int, *, scale: float) -> tuple[Named, Named]:
    rng = np.random.default_rng(seed)
    deltas = {key: rng.normal(size=20, scale=scale).astype(np.float32) for key in "abc"}
    fishers = {key: np.square(rng.normal(size=20, scale=1e-4)).astype(np.float32) for key in "abc"}
    return deltas, fishers


def test_by_hand() -> None:
    deltas, fishers = arrays(a=[1, 1, 8], b=[5, 5, 2]), arrays(a=[3, 1, 0], b=[1, 3, 0])
    # (3 * 1 + 1 * 5) / 4, (1 * 1 + 3 * 5) / 4, and the mean where nobody knows anything.
    assert fuse_arrays(RULE, deltas, extras=fishers).tolist() == [2, 4, 5]


def test_weights_multiply_the_fishers() -> None:
    deltas, fishers = arrays(a=[1, 8], b=[5, 2]), arrays(a=[3, 0], b=[1, 0])
    fused = fuse_arrays(RULE, deltas, extras=fishers, weights={"a": 1, "b": 3})
    assert fused.tolist() == [(3 * 1 + 3 * 5) / 6, (8 + 3 * 2) / 4]


def test_whoever_has_weight_0_is_not_there_and_hardly_any_weight_is_weight() -> None:
    deltas, fishers = arrays(a=[1], b=[5], c=[7]), arrays(a=[1], b=[0], c=[0])
    for floor in (0.0, 1e-6):
        fused = fuse_arrays(
            RULE, deltas, extras=fishers, weights={"a": 0, "b": 1, "c": 0}, options={"floor": floor}
        )
        assert fused.tolist() == [5]
    light = {"a": 1e-30, "b": 1, "c": 1}
    assert fuse_arrays(RULE, deltas, extras=fishers, weights=light, options={"floor": 0.0}).tolist() == [1]


def test_nobody_counts_less_than_the_floor() -> None:
    deltas, fishers = arrays(a=[1], b=[0]), arrays(a=[0], b=[1e-8])
    assert fuse_arrays(RULE, deltas, extras=fishers) == pytest.approx(1e-6 / (1 + 1e-6))
    assert fuse_arrays(RULE, deltas, extras=fishers, options={"floor": 0.0}) == 0
    assert fuse_arrays(RULE, deltas, extras=fishers, options={"floor": 1.0}) == 0.5


@given(seed=st.integers(0, 2**32), size=st.integers(-100, 10), power=st.integers(-10, 10))
def test_the_size_of_deltas_and_fishers_does_not_matter(seed: int, size: int, power: int) -> None:
    deltas, fishers = drawn(seed, scale=2.0**size)
    fused = fuse_arrays(RULE, deltas, extras=fishers)
    scaled = {key: delta * np.float32(2.0**power) for key, delta in deltas.items()}
    known = {key: fisher * np.float32(2.0**power) for key, fisher in fishers.items()}
    assert (fuse_arrays(RULE, scaled, extras=known) == 2.0**power * fused).all()
    d, f = (np.float64(list(named.values())) for named in (deltas, fishers))
    f = np.maximum(f, 1e-6 * f.max(axis=0))
    np.testing.assert_allclose(fused, (f * d).sum(axis=0) / f.sum(axis=0), rtol=1e-9)


@given(seed=st.integers(0, 2**32))
def test_nobody_is_first_and_equal_deltas_are_kept(seed: int) -> None:
    deltas, fishers = drawn(seed, scale=1e-3)
    turned = [
        {key: named[other] for key, other in zip("abc", "cab", strict=True)} for named in (deltas, fishers)
    ]
    fused = fuse_arrays(RULE, deltas, extras=fishers)
    assert fuse_arrays(RULE, turned[0], extras=turned[1]).tobytes() == fused.tobytes()
    same = fuse_arrays(RULE, dict.fromkeys("abc", deltas["a"]), extras=fishers)
    assert (same.astype(np.float32) == deltas["a"]).all()


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 1)], ids=str)
def test_small_shapes_and_inputs_left_as_they_were(shape: tuple[int, ...]) -> None:
    deltas, fishers = ({key: np.full(shape, v, np.float32) for key in "ab"} for v in (0.25, 0.0))
    fused = fuse_arrays(RULE, deltas, extras=fishers)
    assert fused.shape == shape and (fused == 0.25).all()
    assert all((delta == 0.25).all() for delta in deltas.values())
    assert not any(fisher.any() for fisher in fishers.values())


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_fisher_that_cannot_be_is_refused_by_name(value: float) -> None:
    deltas, fishers = arrays(a=[1, 2], b=[3, 4]), arrays(a=[1, 1], b=[1, value])
    with pytest.raises(
        TensorMismatch, match=f"b: Fisher diagonal of weight is {value:g} at element 1; it must"
    ):
        fuse_arrays(RULE, deltas, extras=fishers)


def test_a_fisher_that_is_missing_or_of_another_shape_is_refused() -> None:
    deltas = arrays(a=[1, 2], b=[3, 4])
    with pytest.raises(TensorMismatch, match="weight: no Fisher diagonal; contributions have to ship one"):
        fuse_arrays(RULE, deltas)
    with pytest.raises(TensorMismatch, match=r"weight: Fisher diagonal \(2, 1\), its deltas are \(2, 2\)"):
        fuse_arrays(RULE, deltas, extras=arrays(a=[1], b=[1]))


def test_weights_and_floors_that_cannot_be_are_refused() -> None:
    deltas = arrays(a=[1], b=[2])
    with pytest.raises(ConfigError, match="a weight is -1: the Fisher-weighted mean takes 0 and more"):
        fuse_arrays(RULE, deltas, extras=deltas, weights={"a": -1, "b": 3})
    with pytest.raises(ConfigError, match="weights sum to 0"):
        fuse_arrays(RULE, deltas, extras=deltas, weights={"a": 0, "b": 0})
    for floor in (-0.1, 2.0, float("nan")):
        with pytest.raises(ConfigError, match="floor is .*: give a share of the largest F, from 0 to 1"):
            FisherOptions(floor=floor)
