"""What every fuser keeps: it holds for one element and for none, for one contribution and for many."""

import numpy as np
import pytest

from coldfusion.errors import ConfigError
from coldfusion.fusers import FUSERS, Fuser, fuser_named

SHAPES = [(), (0,), (1,), (7, 1), (7, 3)]


@pytest.fixture(params=FUSERS)
def fuser(request: pytest.FixtureRequest) -> Fuser:
    return FUSERS[request.param]


@pytest.fixture(params=SHAPES, ids=str)
def deltas(request: pytest.FixtureRequest) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(5, *request.param))


def test_shape_and_dtype(fuser: Fuser, deltas: np.ndarray) -> None:
    fused = fuser(deltas, np.ones(5))
    assert np.shape(fused) == deltas.shape[1:] and np.asarray(fused).dtype == np.float64


def test_inputs_are_not_changed(fuser: Fuser, deltas: np.ndarray) -> None:
    before, weights = deltas.copy(), np.arange(1.0, 6.0)
    fuser(deltas, weights)
    assert (deltas == before).all() and (weights == np.arange(1.0, 6.0)).all()


def test_nobody_is_first(fuser: Fuser, deltas: np.ndarray) -> None:
    order, weights = [3, 1, 4, 0, 2], np.arange(1.0, 6.0)
    np.testing.assert_allclose(fuser(deltas[order], weights[order]), fuser(deltas, weights), atol=1e-15)


def test_no_hidden_scale(fuser: Fuser, deltas: np.ndarray) -> None:
    np.testing.assert_allclose(fuser(4 * deltas, np.ones(5)), 4 * fuser(deltas, np.ones(5)), rtol=1e-15)


def test_nothing_comes_from_nothing(fuser: Fuser, deltas: np.ndarray) -> None:
    assert not np.any(fuser(0 * deltas, np.ones(5)))


def test_agreement_survives(fuser: Fuser, deltas: np.ndarray) -> None:
    same = np.repeat(deltas[:1], 4, axis=0)
    np.testing.assert_array_equal(fuser(same, np.ones(4)), deltas[0])


def test_an_unknown_fuser_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="unknown fuser 'average'; known: mean"):
        fuser_named("average")
