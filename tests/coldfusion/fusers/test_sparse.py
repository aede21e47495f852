"""What all sparse rules keep: it does not show how a tensor is cut, in which order, or at which scale."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from coldfusion.exact.gram import inner_products
from coldfusion.fusers import FUSERS, Facts, Tile, make_options
from coldfusion.fusers.arrays import fuse_arrays, rank
from coldfusion.fusers.registry import SPARSE

KEYS, SHAPE = ("a", "b", "c"), (12, 40)
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    *((fuser.name, {}) for fuser in SPARSE),
    ("sce", {"select_topk": 0.3}),
    *((name, {"rescale": "l1"}) for name in ("ties", "dare_linear", "dare_ties", "della", "breadcrumbs")),
]


@pytest.fixture(params=SETTINGS, ids=str)
def setting(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    chosen: tuple[str, dict[str, Any]] = request.param
    return chosen


@pytest.fixture(params=[np.float32, np.float64])
def deltas(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    random = np.random.default_rng(5)
    return {key: random.normal(0, 1e-3, SHAPE).astype(request.param) for key in KEYS}


def cut(deltas: np.ndarray, bounds: list[int]) -> Iterator[Tile]:
    for start, stop in zip(bounds, bounds[1:], strict=False):
        yield Tile("weight", SHAPE, start, deltas[:, start:stop], KEYS, 9)


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [1.0, 2.5, 0.3]], ids=["equal", "not"])
def test_tiles_fuse_like_the_whole(
    setting: tuple[str, dict[str, Any]], deltas: dict[str, np.ndarray], weights: list[float]
) -> None:
    fuser = FUSERS[setting[0]]
    options = make_options(fuser, setting[1])
    stack = np.stack([delta.reshape(-1) for delta in deltas.values()])
    gram = inner_products(stack.astype(np.float32))
    ranked = rank(stack, fuser.ranking(options))
    plan = fuser.plan(Facts("weight", SHAPE, gram, gram, ranked), np.array(weights), options)
    assert fuser.apply is not None and fuser.tally is not None
    (whole,) = cut(stack, [0, 480])
    bounds = [0, 40, 200, 480] if fuser.tiles == "rows" else [0, 1, 18, 64, 403, 480]
    if fuser.tallies(options):
        plan = fuser.refine(plan, sum(fuser.tally(tile, plan) for tile in cut(stack, bounds)))
    tiles = [fuser.apply(tile, plan).copy() for tile in cut(stack, bounds)]
    assert np.concatenate(tiles).tobytes() == fuser.apply(whole, plan).tobytes()


def test_nobody_is_first(setting: tuple[str, dict[str, Any]], deltas: dict[str, np.ndarray]) -> None:
    fuser, weights = FUSERS[setting[0]], {"a": 1.0, "b": 0.7, "c": 3.0}
    given = fuse_arrays(fuser, deltas, weights=weights, options=setting[1])
    turned = fuse_arrays(fuser, dict(reversed(deltas.items())), weights=weights, options=setting[1])
    assert turned.tobytes() == given.tobytes()


def test_a_scaled_delta_fuses_to_the_scaled_result(
    setting: tuple[str, dict[str, Any]], deltas: dict[str, np.ndarray]
) -> None:
    fused = fuse_arrays(FUSERS[setting[0]], deltas, options=setting[1])
    scaled = fuse_arrays(FUSERS[setting[0]], {k: -8 * d for k, d in deltas.items()}, options=setting[1])
    np.testing.assert_allclose(scaled, -8 * fused, rtol=1e-11)
    assert fused.any()


@pytest.mark.parametrize("shape", [(), (0,), (1,), (5, 1), (0, 3), (3, 0), (2, 3, 4)], ids=str)
def test_any_shape_is_fused(setting: tuple[str, dict[str, Any]], shape: tuple[int, ...]) -> None:
    fused = fuse_arrays(FUSERS[setting[0]], {"a": np.ones(shape), "b": np.ones(shape)}, options=setting[1])
    assert fused.shape == shape and np.isfinite(fused).all()


def test_inputs_stay_as_they_are(setting: tuple[str, dict[str, Any]], deltas: dict[str, np.ndarray]) -> None:
    before = {key: delta.copy() for key, delta in deltas.items()}
    fuse_arrays(FUSERS[setting[0]], deltas, options=setting[1])
    assert all((deltas[key] == before[key]).all() for key in KEYS)


def test_results_do_not_change_when_the_next_tile_is_fused(setting: tuple[str, dict[str, Any]]) -> None:
    first = fuse_arrays(FUSERS[setting[0]], {"a": np.ones(50), "b": np.arange(50.0)}, options=setting[1])
    kept = first.copy()
    fuse_arrays(FUSERS[setting[0]], {"a": np.full(50, 9.0), "b": np.full(50, -7.0)}, options=setting[1])
    assert (first == kept).all()


def test_zeros_fuse_to_zeros(setting: tuple[str, dict[str, Any]]) -> None:
    assert not fuse_arrays(FUSERS[setting[0]], dict.fromkeys("ab", np.zeros(20)), options=setting[1]).any()
