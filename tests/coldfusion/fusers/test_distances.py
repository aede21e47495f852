from typing import Any

import numpy as np
import pytest

from coldfusion.errors import ConfigError
from coldfusion.fusers import FUSERS, Facts, make_options
from coldfusion.fusers.arrays import fuse_arrays

LINE = [0.0, 1.0, 2.0, 3.0, 100.0]  # with f = 1, the squares to the two nearest sum to 5, 2, 2, 5 and 19013


def fuse(name: str, points: Any, weights: list[float] | None = None, **options: Any) -> Any:
    """Of points on a line or in a plane."""
    deltas = {f"c{i}": np.asarray(point, np.float32) for i, point in enumerate(points)}
    heavy = None if weights is None else dict(zip(deltas, weights, strict=True))
    return fuse_arrays(FUSERS[name], deltas, weights=heavy, options=options).tolist()


def test_krum_takes_the_best_surrounded_and_the_first_key_of_equals() -> None:
    assert fuse("krum", LINE, f=1) == 1.0
    assert fuse("krum", LINE[::-1], f=1) == 2.0


def test_krum_ignores_weights() -> None:
    assert fuse("krum", LINE, [0, 0, 0, 0, 0], f=1) == 1.0


def test_multi_krum_averages_the_best() -> None:
    assert fuse("multi_krum", LINE, f=1, m=2) == 1.5
    assert fuse("multi_krum", LINE, f=1) == 1.5  # of 0, 1, 2 and 3
    assert fuse("multi_krum", LINE, f=1, m=5) == 21.2


def test_multi_krum_weighs_what_it_has_chosen() -> None:
    assert fuse("multi_krum", LINE, [1, 1, 3, 1, 50], f=1, m=2) == 1.75


@pytest.mark.parametrize("seed", range(5))
def test_multi_krum_selects_by_distances_between_the_deltas_themselves(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, f, m = 9, 2, 3
    points = rng.normal(0, 1e-3, (n, 50)) * rng.uniform(0.5, 2, (n, 1))
    squares = ((points[:, None] - points) ** 2).sum(axis=2)
    scores = np.sort(squares, axis=1)[:, 1 : n - f - 2 + 1].sum(axis=1)
    expected = points[np.argsort(scores)[:m]].mean(axis=0)
    assert fuse("multi_krum", points, f=f, m=m) == pytest.approx(expected, rel=1e-5)


def test_krum_says_how_many_it_needs() -> None:
    with pytest.raises(ConfigError, match="Krum with f = 1 needs at least 5 deltas, there are 4"):
        fuse("krum", LINE[:4], f=1)
    with pytest.raises(ConfigError, match="Krum with f = 0 needs at least 3 deltas, there are 2"):
        fuse("multi_krum", LINE[:2])


def test_the_geometric_median_of_a_line_is_the_median() -> None:
    assert fuse("geometric_median", [0.0, 1.0, 10.0]) == pytest.approx(1.0, abs=1e-4)


def test_half_of_the_weight_decides_the_geometric_median() -> None:
    points = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    assert fuse("geometric_median", points, [1, 3, 1]) == pytest.approx([1.0, 0.0], abs=1e-4)


def test_the_geometric_median_is_nearer_to_all_than_anything_around_it() -> None:
    points = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    found = np.array(fuse("geometric_median", points))
    cost = np.linalg.norm(points - found, axis=1).sum()
    for step in 1e-2 * np.vstack([np.eye(3), -np.eye(3)]):
        assert np.linalg.norm(points - found - step, axis=1).sum() > cost


def test_two_of_five_cannot_carry_the_geometric_median_away() -> None:
    points = [[0.0, 0.1], [0.1, 0.0], [0.0, 0.0], [1e4, 1e4], [1e4, 1e4]]
    assert np.linalg.norm(fuse("geometric_median", points)) < 1


def test_equal_deltas_stop_the_geometric_median_at_once() -> None:
    assert fuse("geometric_median", [[0.1, 0.7]] * 3) == np.float32([0.1, 0.7]).tolist()


def test_norm_clip_by_hand() -> None:
    points = [[3.0, 4.0], [0.0, 1.0], [0.0, -2.0]]  # norms 5, 1 and 2: the first is shortened to (1.2, 1.6)
    assert fuse("norm_clip", points, [1, 1, 2]) == pytest.approx([0.3, -0.35])
    assert fuse("norm_clip", points, [1, 1, 2], max_norm=5.0) == pytest.approx([0.75, 0.25])
    assert fuse("norm_clip", points, [1, 1, 2], max_norm=0.5) == pytest.approx([0.075, -0.025])


def test_nobody_moves_the_norm_clipped_mean_further_than_his_weight() -> None:
    honest = [[0.0, 0.1], [0.1, 0.0], [0.0, 0.0], [0.0, 0.2]]
    assert fuse("norm_clip", [*honest, [1e4, 0.0]]) == pytest.approx([(0.1 + 0.1) / 5, (0.1 + 0.1) / 5])


@pytest.mark.parametrize(
    "name, options",
    [
        ("krum", {"f": -1}),
        ("multi_krum", {"m": 0}),
        ("multi_krum", {"m": 6}),
        ("geometric_median", {"eps": 0.0}),
        ("norm_clip", {"max_norm": -1.0}),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        fuse(name, LINE, **options)


@pytest.mark.parametrize(
    "name, options", [("krum", {}), ("multi_krum", {"f": 1}), ("geometric_median", {}), ("norm_clip", {})]
)
def test_the_body_is_judged_as_a_whole_and_once(name: str, options: dict[str, Any]) -> None:
    points = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    body, fuser, nothing = points.astype(float) @ points.T.astype(float), FUSERS[name], np.zeros((5, 5))
    plans = [
        fuser.plan(
            Facts(tensor, (1,), nothing, body, np.zeros((0, 0), np.float32)),
            np.ones(5),
            make_options(fuser, options),
        )
        for tensor in ("first", "second")
    ]
    assert plans[0] is plans[1] and len(set(plans[0].numerators)) > 1
