"""Our fusers against mergekit 0.1.5 in float32 on small BERT and Llama checkpoints, as it was recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from coldfusion.dtypes import Float64
from coldfusion.fusers import FUSERS
from coldfusion.fusers.arrays import fuse_arrays
from experiments.peers.cases import OTHER, SAME, Case
from experiments.peers.models import Model, base_model
from tests.peers.recordings import (
    ARCHITECTURES,
    HALF_ULP,
    Recording,
    beyond_rounding,
    difference,
    recording,
    weights_of,
)

CASES = {case.name: case for case in (*SAME, *OTHER)}


@pytest.fixture(params=ARCHITECTURES)
def recorded(request: pytest.FixtureRequest) -> Recording:
    return recording(request.param)


@pytest.fixture
def bert() -> Recording:
    return recording("bert")


def fused(recorded: Recording, case: Case) -> Iterator[tuple[str, dict[str, Any], Float64]]:
    """(tensor, its deltas, what our fuser makes of them)."""
    models = recorded.deltas(case)
    for name in recorded.shapes:
        of_tensor = {key: model[name] for key, model in models.items()}
        yield name, of_tensor, fuse(case, of_tensor, name)


def fuse(case: Case, deltas: dict[str, Any], name: str) -> Float64:
    return fuse_arrays(FUSERS[case.fuser], deltas, weights=weights_of(case), options=case.ours, name=name)


def moved(recorded: Recording, case: Case) -> Model:
    """What mergekit added to the base."""
    base = base_model(recorded.shapes)
    return {name: merged.astype(float) - base[name] for name, merged in recorded.merged(case).items()}


def replay(monkeypatch: pytest.MonkeyPatch, recorded: Recording, case: Case) -> None:
    """Let our random rules keep what mergekit's kept."""
    kept = recorded.kept(case)

    def recorded_mask(stream: tuple[Any, ...], start: int, *_: Any) -> Any:
        assert start == 0
        return kept[stream[1:]]

    monkeypatch.setattr("coldfusion.fusers.masks.keep_evenly", recorded_mask)
    monkeypatch.setattr("coldfusion.fusers.della.keep_unevenly", recorded_mask)


@pytest.mark.parametrize("case", SAME, ids=lambda case: case.name)
def test_values_are_those_of_mergekit(
    recorded: Recording, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case.draws:
        replay(monkeypatch, recorded, case)
    base, theirs = base_model(recorded.shapes), recorded.merged(case)
    for name, _, delta in fused(recorded, case):
        ours = delta if case.of_deltas else base[name] + delta
        assert difference(ours, theirs[name]) <= 1e-6, name
        assert beyond_rounding(ours, theirs[name], delta) <= 1e-6, name


def test_the_recorded_masks_keep_about_as_many_as_was_asked_for(recorded: Recording) -> None:
    for case in SAME:
        if case.draws:
            kept = np.concatenate(list(recorded.kept(case).values()))
            assert abs(kept.mean() - float(case.theirs["density"])) < 0.02


def test_dare_divides_by_the_density_unless_told_to_match_the_l1_norm(
    bert: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES["dare_linear"]
    replay(monkeypatch, bert, case)
    kept, weights, name = bert.kept(case), weights_of(case) or {}, "bert.pooler.dense.weight"
    models = bert.deltas(case)
    as_in_the_paper = sum(
        weights[key] * model[name].reshape(-1) * kept[key, name] / 0.5 for key, model in models.items()
    )
    ours = fuse(replace(case, ours={"density": 0.5}), {k: m[name] for k, m in models.items()}, name)
    assert difference(ours.reshape(-1), as_in_the_paper) <= 1e-6
    assert difference(ours, moved(bert, case)[name]) > 1e-3


def test_model_stock_is_never_beyond_the_base_where_mergekits_is_thrice(bert: Recording) -> None:
    case = CASES["model_stock_opposed"]
    theirs = moved(bert, case)
    for name, deltas, ours in fused(bert, case):
        mean = np.mean([delta.astype(float) for delta in deltas.values()], axis=0)
        if mean.size > 100:  # cosines of about -1, 0, 0: t = 3 (-1/3) / (1 - 2/3) = -3
            assert -6 < (theirs[name] * mean).sum() / (mean * mean).sum() < -1.5
        assert not ours.any() or not (theirs[name] * mean).sum() < 0


def test_model_stock_takes_small_tensors_like_large_ones_where_mergekit_clamps_their_norms(
    bert: Recording,
) -> None:
    case, clamped = CASES["model_stock_small"], 0
    theirs = moved(bert, case)
    for name, deltas, ours in fused(bert, case):
        flat = np.stack([delta.astype(float).reshape(-1) for delta in deltas.values()])
        gram = flat @ flat.T
        products = np.sqrt(np.outer(np.diagonal(gram), np.diagonal(gram)))
        pairs = np.triu_indices(3, 1)
        exact, with_clamp = (
            min(max(3 * c / (1 + 2 * c), 0.0), 1.0)
            for c in ((gram / p)[pairs].mean() for p in (products, np.maximum(products, 1e-6)))
        )
        room = 4 * HALF_ULP * (1 + np.abs(flat).max())
        assert (
            np.abs(ours - (exact * flat.mean(axis=0)).reshape(ours.shape)).max() <= 1e-6 * np.abs(ours).max()
        )
        assert np.abs(theirs[name] - (with_clamp * flat.mean(axis=0)).reshape(ours.shape)).max() <= room
        clamped += with_clamp < 0.9 * exact
    assert clamped >= 10  # biases and norms


def test_sce_weighs_small_deltas_by_their_squares_where_mergekit_weighs_them_equally(bert: Recording) -> None:
    case = CASES["sce_small"]
    theirs, differ = moved(bert, case), 0
    for name, deltas, ours in fused(bert, case):
        stack = np.stack([delta.astype(float) for delta in deltas.values()])
        squares = (stack**2).reshape(3, -1).mean(axis=1)
        assert squares.sum() < 1e-6
        assert difference(ours, agreeing_mean(stack, squares / squares.sum())) <= 1e-6
        room = 4 * HALF_ULP * np.abs(bert.merged(case)[name]).max()
        assert np.abs(theirs[name] - agreeing_mean(stack, np.full(3, 1 / 3))).max() <= room
        differ += difference(ours, theirs[name]) > 0.02
    assert differ > len(theirs) / 2


def agreeing_mean(deltas: Float64, shares: Float64) -> Float64:
    """sum_i a_i m_i d_i / sum_i a_i m_i, m_i: where d_i has the sign of sum_i d_i."""
    weights = shares.reshape(-1, *[1] * (deltas.ndim - 1)) * (deltas * deltas.sum(axis=0) > 0)
    mean: Float64 = (weights * deltas).sum(axis=0) / weights.sum(axis=0)
    return mean


def test_ties_keeps_all_that_stand_at_the_threshold_where_mergekit_keeps_as_many_as_fit(
    bert: Recording,
) -> None:
    case, more = CASES["ties_coarse"], 0
    theirs = moved(bert, case)
    for name, deltas, ours in fused(bert, case):
        delta = deltas["a"].astype(float)
        k = max(1, delta.size // 2)
        threshold = np.sort(np.abs(delta), axis=None)[-k]
        assert (ours == np.where(np.abs(delta) >= threshold, delta, 0.0)).all()
        assert (theirs[name] != 0).sum() <= k
        assert ((theirs[name] == ours) | (theirs[name] == 0)).all()
        more += (ours != 0).sum() > (theirs[name] != 0).sum()
    assert more > 10
