"""Our robust fusers against Flower's aggregators on the same eight small BERTs, as it was recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from coldfusion.fusers import FUSERS
from coldfusion.fusers.arrays import fuse_arrays
from experiments.peers.cases import EIGHT
from experiments.peers.models import Model, base_model, deltas
from tests.peers.recordings import beyond_rounding, difference, recording

OPTIONS: dict[str, dict[str, Any]] = {
    "median": {},
    "trimmed_mean": {"trim": 0.25},
    "krum": {"f": 2},
    "multi_krum": {"f": 2, "m": 4},
}


def flat(model: Model) -> np.ndarray[Any, Any]:
    return np.concatenate([tensor.reshape(-1) for tensor in model.values()])


@pytest.mark.parametrize("rule", OPTIONS)
def test_values_are_those_of_flower(rule: str) -> None:
    recorded = recording("bert")
    contributions = {key: flat(deltas(recorded.shapes, key)) for key in EIGHT}
    base, theirs = flat(base_model(recorded.shapes)), recorded.outputs[f"flower.{rule}"]
    fused = fuse_arrays(FUSERS[rule], contributions, options=OPTIONS[rule])
    assert difference(base + fused, theirs) <= 1e-6
    assert beyond_rounding(base + fused, theirs, fused) <= 1e-6
