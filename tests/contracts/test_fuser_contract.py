"""What every fuser keeps: it holds for one element and for none, for agreement and for discord.

Parametrised over the registry: a new rule adds nothing here but, where it promises more or less than the
others, its name to a table.
"""

from collections.abc import Sequence
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldfusion.errors import ConfigError
from coldfusion.fusers import FUSERS, fuser_named
from coldfusion.fusers.arrays import fuse_arrays

TAKES = {"slerp": (2, 2), "krum": (3, 99), "multi_krum": (3, 99)}
"""How many deltas a rule takes, where it is not any number."""

MEANS: dict[str, dict[str, Any]] = {
    "mean": {},
    "task_arithmetic": {"normalize": True},
    "ties": {"density": 1.0},
    "sce": {},
    "fisher": {},
    "model_stock": {},
    "karcher": {},
    "slerp": {},
    "median": {},
    "trimmed_mean": {},
    "krum": {},
    "multi_krum": {},
    "geometric_median": {},
    "norm_clip": {},
}
"""The mean family, with options under which deltas that are equal give that delta."""

EXACTLY_SCALED = {"mean", "task_arithmetic", "median", "trimmed_mean"}
"""Rules that give 4 f(d) for 4 d to the last bit; the others round on the way."""

BY_KEY = {"slerp", "dare_linear", "dare_ties", "della", "della_linear"}
"""Rules for which it matters under which key a delta comes: the ends of a path, the seeds of masks."""

ANY_WEIGHTS = {
    *("task_arithmetic", "dare_linear", "dare_ties", "della_linear", "breadcrumbs", "breadcrumbs_ties"),
    *("slerp", "krum", "median", "trimmed_mean"),
}
"""Rules that do not divide by the weights by default: they add up what they are given, or ignore weights."""

SHAPES = [(), (0,), (1,), (7, 1), (7, 3)]
NUMBERS = st.floats(2.0**-20, 1, width=32) | st.floats(-1, -(2.0**-20), width=32) | st.just(0.0)
STACKS = st.sampled_from(SHAPES).flatmap(lambda s: hnp.arrays(np.float32, (5, *s), elements=NUMBERS))
RULES = pytest.mark.parametrize("rule", FUSERS)
FEW = settings(max_examples=30, deadline=None)


def fuse(
    rule: str,
    deltas: Sequence[np.ndarray],
    *,
    order: Sequence[int] | None = None,
    keys: Sequence[str] = "abcde",
    weights: Sequence[float] = (1, 2, 3, 4, 5),
    **options: Any,
) -> np.ndarray:
    """The fused delta, of as many of these deltas as the rule takes, handed in by `order`; always checked."""
    n = min(len(deltas), TAKES.get(rule, (1, 99))[1])
    deltas, before = deltas[:n], [delta.copy() for delta in deltas[:n]]
    rows = [i for i in order or range(n) if i < n]
    extras = [np.random.default_rng(i).uniform(0.1, 1, np.shape(deltas[0])) for i in range(n)]
    fused = fuse_arrays(
        FUSERS[rule],
        {keys[i]: deltas[i] for i in rows},
        weights={keys[i]: weights[i] for i in rows},
        extras={keys[i]: extras[i] for i in rows} if "extras" in FUSERS[rule].needs else None,
        options=options,
    )
    assert np.shape(fused) == np.shape(deltas[0]) and np.asarray(fused).dtype == np.float64
    assert np.isfinite(fused).all()
    assert all(np.array_equal(now, was) for now, was in zip(deltas, before, strict=True)), (
        "changed its inputs"
    )
    return fused


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1e-3, shape).astype(np.float32)


def assert_close(fused: np.ndarray, expected: np.ndarray, deltas: np.ndarray, rtol: float = 1e-6) -> None:
    """Equal up to rtol; what cancels is measured by the deltas that it comes from."""
    np.testing.assert_allclose(fused, expected, rtol=rtol, atol=rtol * np.abs(deltas).max(initial=0))


@RULES
@given(stack=STACKS)
@FEW
def test_neither_arrival_nor_names_show_in_the_bytes(rule: str, stack: np.ndarray) -> None:
    fused = fuse(rule, stack).tobytes()
    assert fuse(rule, stack, order=[3, 1, 4, 0, 2]).tobytes() == fused
    if rule not in BY_KEY and rule != "krum":  # of equally good ones it takes the first key's
        assert fuse(rule, stack, keys="cebda").tobytes() == fused


@RULES
@given(stack=STACKS, scale=st.sampled_from([4.0, 0.25]))
@FEW
def test_no_scale_is_hidden(rule: str, stack: np.ndarray, scale: float) -> None:
    fused, expected = fuse(rule, stack * np.float32(scale)), scale * fuse(rule, stack)
    assert_close(fused, expected, stack, rtol=0 if rule in EXACTLY_SCALED else 1e-6)


@pytest.mark.parametrize("rule", [rule for rule in FUSERS if rule in MEANS])
@given(stack=STACKS)
@FEW
def test_agreement_survives(rule: str, stack: np.ndarray) -> None:
    least = TAKES.get(rule, (1, 99))[0]
    for n in {least, max(least, 3), 5}:
        same = np.repeat(stack[:1], n, axis=0)
        assert_close(fuse(rule, same, **MEANS[rule]).astype(np.float32), stack[0], stack, rtol=1e-7)


@RULES
@given(delta=STACKS.map(lambda stack: stack[0]))
@FEW
def test_opposite_deltas_are_no_trouble(rule: str, delta: np.ndarray) -> None:
    fused = fuse(rule, np.stack([delta, -delta, 0 * delta, delta, -delta]), weights=[1] * 5)
    assert fused.shape == delta.shape and np.isfinite(fused).all()


@RULES
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nothing_comes_of_nothing(rule: str, shape: tuple[int, ...]) -> None:
    assert not fuse(rule, np.zeros((5, *shape), np.float32)).any()


@pytest.mark.parametrize("rule", [rule for rule in FUSERS if rule not in TAKES])
def test_one_delta_is_enough_where_any_number_is(rule: str) -> None:
    for shape in SHAPES:
        fused = fuse(rule, normal(1, *shape))
        assert fused.shape == shape and np.isfinite(fused).all()


@RULES
def test_strides_do_not_show(rule: str) -> None:
    strided = normal(5, 14, 6)[:, ::2, ::-2]
    assert fuse(rule, list(strided)).tobytes() == fuse(rule, strided.copy()).tobytes()


def rounded(stack: np.ndarray, dtype: str) -> np.ndarray:
    """fp32 numbers that `dtype` holds too."""
    if dtype == "bfloat16":
        return (stack.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    return stack.astype(dtype).astype(np.float32)


@RULES
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_numbers_of_any_dtype_give_what_they_give_in_fp64(rule: str, dtype: str) -> None:
    stack = rounded(normal(5, 7, 3), dtype)
    mixed = [delta.astype(np.float64) if i % 2 else delta for i, delta in enumerate(stack)]
    assert_close(fuse(rule, mixed), fuse(rule, stack), stack)
    assert_close(fuse(rule, stack.astype(np.float64)), fuse(rule, stack), stack)


@RULES
@pytest.mark.parametrize("weights", [(0, 0, 0, 0, 0), (1, -1, 1, -2, 1)], ids=str)
def test_weights_that_sum_to_zero_are_refused(rule: str, weights: tuple[int, ...]) -> None:
    if rule in ANY_WEIGHTS:
        fuse(rule, normal(5, 7, 3), weights=weights)
    else:
        with pytest.raises(ConfigError, match="weight"):
            fuse(rule, normal(5, 7, 3), weights=weights)


def test_an_unknown_fuser_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="unknown fuser 'average'; known: mean, "):
        fuser_named("average")
