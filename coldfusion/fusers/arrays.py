"""Fuse small arrays in memory: one tensor's deltas, with everything that the engine would have measured.

The whole-tensor form of every rule, for tests, notebooks and whoever wants to see what a rule does. The
engine streams the same plan and the same arithmetic over tiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from coldfusion.dtypes import Array, Float64
from coldfusion.errors import TensorMismatch
from coldfusion.exact.gram import inner_products
from coldfusion.fusers.family import Facts, Fuser, Ranking, Tile
from coldfusion.fusers.linear import weighted_sum
from coldfusion.fusers.registry import make_options


def fuse_arrays(  # noqa: PLR0913 - one parameter per kind of input
    fuser: Fuser,
    deltas: Mapping[str, Array],
    *,
    weights: Mapping[str, float] | None = None,
    options: Mapping[str, Any] | None = None,
    extras: Mapping[str, Array] | None = None,
    name: str = "weight",
    seed: int = 0,
) -> Float64:
    """The fused delta, fp64, of one tensor's deltas by contribution (each of the same shape, fp32 or fp64).

    weights: uniform where None. extras: what a contribution ships beside its delta (a Fisher diagonal).
    Raises TensorMismatch where shapes differ.
    """
    keys = tuple(sorted(deltas))
    shape = np.shape(deltas[keys[0]])
    if odd := [key for key in keys if np.shape(deltas[key]) != shape]:
        raise TensorMismatch(f"{odd[0]}: shape {np.shape(deltas[odd[0]])}, {keys[0]} has {shape}")
    wide = any(np.asarray(deltas[key]).dtype == np.float64 for key in keys)
    stack = np.stack(
        [np.asarray(deltas[key], np.float64 if wide else np.float32).reshape(-1) for key in keys]
    )
    weight = np.array([1.0 if weights is None else weights[key] for key in keys])
    beside = (
        () if extras is None else (np.stack([np.asarray(extras[k], np.float32).reshape(-1) for k in keys]),)
    )
    made = make_options(fuser, options or {})
    tile = Tile(name, shape, 0, stack, keys, seed, beside)
    gram = inner_products(stack.astype(np.float32))
    ranked = rank(stack, fuser.ranking(made))
    plan = fuser.plan(Facts(name, shape, gram, gram, ranked), weight, made)
    if fuser.tally is not None and fuser.tallies(made):
        plan = fuser.refine(plan, fuser.tally(tile, plan))
    return apply_plan(tile, fuser, plan).reshape(shape)


def apply_plan(tile: Tile, fuser: Fuser, plan: Any) -> Float64:
    """The fused delta of one tile (t,), by the fuser's arithmetic or as the weighted sum that it planned."""
    return weighted_sum(tile.deltas, plan) if fuser.apply is None else fuser.apply(tile, plan).copy()


def rank(deltas: Array, ranking: Ranking | None) -> Array:
    """What stands at the ranks that a fuser asks for, (m, k), of a tensor held whole."""
    if ranking is None:
        return np.zeros((0, 0), np.float32)
    return ranking.found_in(ranking.score(deltas))
