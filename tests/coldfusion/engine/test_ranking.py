from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from safetensors.numpy import save_file

from coldfusion.checkpoint import Checkpoint
from coldfusion.engine import ranking
from coldfusion.engine.crews import Threads
from coldfusion.engine.ranking import SMALL, rank_cohort
from coldfusion.engine.sources import CheckpointSource, Cohort
from coldfusion.errors import TensorMismatch
from coldfusion.fusers.family import Ranking

Arrays = dict[str, np.ndarray]
LARGE = SMALL + 1000


def cohort_of(room: Path, *deltas: Arrays, dtype: type = np.float32) -> Cohort:
    """Deltas from a base of zeros."""
    base = {name: np.zeros_like(delta, dtype) for name, delta in deltas[0].items()}
    checkpoints = []
    for i, tensors in enumerate([base, *deltas]):
        (room / str(i)).mkdir()
        save_file({n: t.astype(dtype) for n, t in tensors.items()}, room / str(i) / "model.safetensors")
        checkpoints.append(Checkpoint(room / str(i)))
    return Cohort(checkpoints[0], tuple(CheckpointSource(str(i), c) for i, c in enumerate(checkpoints[1:])))


def magnitudes(
    ranks: Callable[[int, int], tuple[int, ...]], scope: Literal["tensor", "model"] = "tensor"
) -> Ranking:
    return Ranking(np.abs, ranks, scope)


def tenth(count: int, nonzero: int) -> tuple[int, ...]:
    return (count // 10,)


def sorted_at(delta: np.ndarray, rank: int) -> float:
    return float(np.sort(np.abs(delta), axis=None)[-rank])


@pytest.mark.parametrize("size", [1, 9, 1000, SMALL, LARGE, 3 * SMALL])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_what_a_sort_finds(tmp_path: Path, size: int, dtype: type) -> None:
    rng = np.random.default_rng(size)
    deltas = [{"w": rng.normal(0, 0.02, size).astype(dtype)} for _ in range(2)]
    found = rank_cohort(cohort_of(tmp_path, *deltas, dtype=dtype), magnitudes(tenth), Threads(2))("w")
    expected = [[sorted_at(delta["w"], max(size // 10, 1))] for delta in deltas]
    np.testing.assert_array_equal(found, np.array(expected, found.dtype))


SHAPES = {
    "constant": lambda t: np.ones(t),
    "zeros": np.zeros,
    "few are not 0": lambda t: np.where(np.arange(t) % 1000 == 0, np.arange(t), 0),
    "sorted": lambda t: np.arange(t),
    "one end is large": lambda t: np.where(np.arange(t) < t // 20, 1.0, np.arange(t) / t / 1000),
    "heavy tails": lambda t: np.random.default_rng(0).standard_cauchy(t),
    "two values": lambda t: np.random.default_rng(0).choice([1.0, 2.0], t),
    "subnormal": lambda t: np.random.default_rng(0).random(t) * 1e-42,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_whatever_the_numbers_are(tmp_path: Path, shape: str) -> None:
    delta = SHAPES[shape](LARGE).astype(np.float32)
    wanted = (1, LARGE // 100, LARGE // 2, LARGE)
    found = rank_cohort(cohort_of(tmp_path, {"w": delta}), magnitudes(lambda c, z: wanted), Threads(1))("w")
    assert found.tolist() == [[sorted_at(delta, rank) for rank in wanted]]


def test_a_sample_that_misleads_shows_in_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    delta = np.random.default_rng(0).normal(size=LARGE).astype(np.float32)
    monkeypatch.setattr(ranking, "_edges", lambda *_: (9.0, 9.0, 0.0))  # hold nothing
    found = rank_cohort(cohort_of(tmp_path, {"w": delta}), magnitudes(tenth), Threads(2))("w")
    assert found.tolist() == [[sorted_at(delta, LARGE // 10)]]


def test_a_bracket_that_would_hold_too_much_is_not_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delta = np.random.default_rng(0).normal(size=LARGE).astype(np.float32)
    monkeypatch.setattr(ranking, "COLLECT", 10)
    monkeypatch.delattr(ranking, "_settle")
    found = rank_cohort(cohort_of(tmp_path, {"w": delta}), magnitudes(tenth), Threads(2))("w")
    assert found.tolist() == [[sorted_at(delta, LARGE // 10)]]


def test_a_bracket_into_which_everything_falls_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delta, held, capped = np.linspace(1.0, 2.0, 3 * SMALL, dtype=np.float32), [], ranking._capped
    bits = np.array([[[1.0]], [[2.0]]], np.float32).view(np.uint32)
    monkeypatch.setattr(ranking, "_sample", lambda *_: ranking._Brackets(*bits))
    monkeypatch.setattr(ranking, "COLLECT", SMALL)
    monkeypatch.setattr(ranking, "_capped", lambda found: held.append(capped(found)) or held[-1])
    found = rank_cohort(cohort_of(tmp_path, {"w": delta}), magnitudes(tenth), Threads(2))("w")
    assert found.tolist() == [[sorted_at(delta, 3 * SMALL // 10)]]
    assert held[-1].held == 3 * SMALL and held[-1].between == [[[]]]


@pytest.mark.parametrize("scope", ["tensor", "model"])
@pytest.mark.parametrize("held", [3 * 1000, 3 * SMALL, 3 * LARGE])
def test_how_much_is_held_at_a_time_does_not_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int, scope: Literal["tensor", "model"]
) -> None:
    monkeypatch.setattr(ranking, "HELD", held)
    rng = np.random.default_rng(0)
    deltas = [
        {name: rng.normal(size=t).astype(np.float32) for name, t in (("v", 900), ("w", LARGE))} for _ in "abc"
    ]
    found = rank_cohort(cohort_of(tmp_path, *deltas), magnitudes(tenth, scope), Threads(2))
    counted = [np.concatenate([d["v"], d["w"]]) if scope == "model" else d["w"] for d in deltas]
    np.testing.assert_array_equal(found("w"), [[sorted_at(d, len(d) // 10)] for d in counted])


@pytest.mark.parametrize("sizes", [(10, 20), (LARGE, 10), (LARGE, SMALL), (300,) * (LARGE // 300)])
def test_over_the_whole_model(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    delta = {f"w{i}": rng.normal(0, 1 + i, size).astype(np.float32) for i, size in enumerate(sizes)}
    found = rank_cohort(cohort_of(tmp_path, delta), magnitudes(tenth, "model"), Threads(2))
    everything = np.concatenate(list(delta.values()))
    expected = sorted_at(everything, everything.size // 10)
    assert {float(found(name)[0, 0]) for name in delta} == {expected}


def test_ranks_may_depend_on_how_many_are_not_zero(tmp_path: Path) -> None:
    delta = np.random.default_rng(0).normal(size=LARGE).astype(np.float32)
    delta[::3] = 0
    halved = magnitudes(lambda count, nonzero: (nonzero // 2,))
    found = rank_cohort(cohort_of(tmp_path, {"w": delta}), halved, Threads(2))("w")
    assert found.tolist() == [[sorted_at(delta, np.count_nonzero(delta) // 2)]]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_scores_may_be_of_the_cohort_instead_of_one_delta(tmp_path: Path, threads: int) -> None:
    rng = np.random.default_rng(0)
    deltas = [{"w": rng.normal(size=LARGE).astype(np.float32)} for _ in range(3)]
    spread = Ranking(lambda d: d.max(axis=0, keepdims=True) - d.min(axis=0, keepdims=True), tenth)
    found = rank_cohort(cohort_of(tmp_path, *deltas), spread, Threads(threads))("w")
    stack = np.stack([delta["w"] for delta in deltas])
    assert found.tolist() == [[sorted_at(stack.max(axis=0) - stack.min(axis=0), LARGE // 10)]]


def test_tensors_of_no_dimension_and_of_no_element(tmp_path: Path) -> None:
    delta = {"point": np.array(-3.0), "empty": np.zeros((0, 4))}
    found = rank_cohort(cohort_of(tmp_path, delta), magnitudes(tenth), Threads(1))
    assert found("point").tolist() == [[3.0]] and found("empty").size == 0


@pytest.mark.parametrize("size", [10, LARGE])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_named(tmp_path: Path, size: int, bad: float) -> None:
    one, two = np.zeros(size, np.float32), np.zeros(size, np.float32)
    two[7] = bad
    cohort = cohort_of(tmp_path, {"w": one}, {"w": two})
    with pytest.raises(TensorMismatch, match="1: w holds NaN or Inf"):
        rank_cohort(cohort, magnitudes(tenth), Threads(2))


def test_nothing_is_read_where_nothing_is_asked(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path, {"w": np.full(3, np.nan)})
    assert rank_cohort(cohort, None, Threads(1))("w").size == 0
