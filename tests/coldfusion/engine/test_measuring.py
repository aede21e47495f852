from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from coldfusion.checkpoint import Checkpoint
from coldfusion.engine import measuring
from coldfusion.engine.crews import Threads
from coldfusion.engine.measuring import LARGEST, RoundStats, measure_cohort
from coldfusion.engine.sources import CheckpointSource, Cohort
from coldfusion.engine.spans import SPAN
from coldfusion.errors import TensorMismatch
from coldfusion.exact.gram import PIECE, inner_products
from coldfusion.native import kernels

Arrays = dict[str, np.ndarray]


def cohort_of(room: Path, *deltas: Arrays, dtype: type = np.float32) -> Cohort:
    """Deltas from a base of zeros, by "0", "1", ..."""
    base = {name: np.zeros_like(delta) for name, delta in deltas[0].items()}
    checkpoints = []
    for i, tensors in enumerate([base, *deltas]):
        (room / str(i)).mkdir(parents=True)
        save_file({n: t.astype(dtype) for n, t in tensors.items()}, room / str(i) / "model.safetensors")
        checkpoints.append(Checkpoint(room / str(i)))
    return Cohort(checkpoints[0], tuple(CheckpointSource(str(i), c) for i, c in enumerate(checkpoints[1:])))


def measured(cohort: Cohort, threads: int = 1, by_tensor: bool = True) -> RoundStats:
    return measure_cohort(cohort, Threads(threads), by_tensor=by_tensor)


def test_by_hand(tmp_path: Path) -> None:
    one = {"v": np.array([2.0, 0.0]), "w": np.array([[0.0, 1.0], [2.0, -2.0]])}
    two = {"v": np.array([1.0, 3.0]), "w": np.array([[1.0, 0.0], [-4.0, 0.0]])}
    found = measured(cohort_of(tmp_path, one, two))
    assert found.gram.tolist() == [[4 + 9, 2 - 8], [2 - 8, 10 + 17]]
    assert found.tensors["v"].gram.tolist() == [[4, 2], [2, 10]]
    assert found.peaks.tolist() == [2, 4]
    assert found.finite.all() and not found.odd


def test_products_are_those_of_fp64_to_1e_7(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    deltas = [{"w": rng.normal(0, 1e-3, 2 * SPAN + 77).astype(np.float32)} for _ in range(3)]
    stack = np.stack([delta["w"] for delta in deltas]).astype(np.float64)
    found = measured(cohort_of(tmp_path, *deltas))
    norms = np.sqrt(np.diag(stack @ stack.T))
    np.testing.assert_allclose(found.gram, stack @ stack.T, rtol=0, atol=1e-7 * norms[0] ** 2)
    assert found.peaks.tolist() == np.abs(stack).max(axis=1).tolist()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_show(tmp_path: Path, threads: int) -> None:
    rng = np.random.default_rng(0)
    deltas = [{f"w{i}": rng.normal(size=100_000).astype(np.float32) for i in range(12)} for _ in range(2)]
    cohort = cohort_of(tmp_path, *deltas)
    assert measured(cohort, threads).gram.tobytes() == measured(cohort, 1).gram.tobytes()


def test_neither_memory_nor_bytes_follow_the_number_of_contributions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    deltas = [{"w": rng.normal(0, 0.1**i, 2 * SPAN + 5001).astype(np.float32)} for i in range(3)]
    cohort = cohort_of(tmp_path, *deltas)
    whole, widths = measured(cohort), []
    monkeypatch.setattr(measuring, "HELD", 3 * SPAN - 1)
    monkeypatch.setattr(
        measuring,
        "inner_products",
        lambda d, onto: widths.append(d.shape[1]) or inner_products(d, onto),
    )
    with kernels.numpy_only():
        parts = measured(cohort)
    assert (
        widths == [7 * PIECE, 7 * PIECE, 2 * SPAN + 5001 - 14 * PIECE] and (parts.peaks == whole.peaks).all()
    )
    assert parts.gram.tobytes() == whole.gram.tobytes()


def test_many_small_tensors_of_many_contributions_are_measured_in_small_groups(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path, *[{f"t{i:03d}": np.ones(2) for i in range(100)} for _ in range(200)])
    found: list[int] = []

    class Counting(Threads):
        def run(self, task, work):  # type: ignore[no-untyped-def]
            work = list(work)
            found.extend(map(len, work))
            return super().run(task, work)

    measure_cohort(cohort, Counting(1))
    assert max(found) * 200**2 * 8 < 10e6


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2 * LARGEST])
def test_a_delta_that_is_not_finite_counts_as_zeros(tmp_path: Path, bad: float) -> None:
    """In all of its tensors, and in every span of them: not only where it is."""
    one, two = np.ones(2 * SPAN), np.ones(2 * SPAN)
    two[3] = bad
    found = measured(cohort_of(tmp_path, {"v": one, "w": one}, {"v": one, "w": two}))
    assert found.finite.tolist() == [True, False] and found.odd == {"1": "w"}
    assert found.gram.tolist() == [[4 * SPAN, 0], [0, 0]]
    assert found.peaks.tolist() == [1, 0]
    assert found.tensors["w"].gram.tolist() == [[2 * SPAN, 0], [0, 0]]
    assert found.tensors["v"].finite.all() and found.tensors["v"].gram[1, 1] == 2 * SPAN
    with pytest.raises(TensorMismatch, match="1: w holds NaN or Inf"):
        found.require_finite()


def test_what_is_finite_is_not_in_the_way(tmp_path: Path) -> None:
    found = measured(cohort_of(tmp_path, {"w": np.ones(3)}))
    found.require_finite()
    assert found.finite.all() and not found.odd


def test_of_some_of_the_deltas(tmp_path: Path) -> None:
    three = measured(cohort_of(tmp_path / "3", *({"w": np.array([i])} for i in (1.0, 2.0, np.nan))))
    assert three.of(("1", "0")).gram.tolist() == [[4, 2], [2, 1]]
    assert three.of(("1",)).tensors["w"].peaks.tolist() == [2]
    three.of(("0", "1")).require_finite()
    with pytest.raises(TensorMismatch):
        three.of(("0", "2")).require_finite()


def test_tensors_of_no_dimension_and_of_no_element(tmp_path: Path) -> None:
    found = measured(cohort_of(tmp_path, {"point": np.array(-3.0), "empty": np.zeros((0, 4))}))
    assert found.gram.tolist() == [[9]] and found.tensors["empty"].gram.tolist() == [[0]]


def test_tensors_are_kept_apart_only_where_asked(tmp_path: Path) -> None:
    assert not measured(cohort_of(tmp_path, {"w": np.ones(3)}), by_tensor=False).tensors


def test_a_cohort_of_nobody(tmp_path: Path) -> None:
    base = cohort_of(tmp_path, {"w": np.ones(3)}).base
    assert measured(Cohort(base, ())).gram.shape == (0, 0)


def test_a_base_in_fp64_is_measured_too(tmp_path: Path) -> None:
    found = measured(cohort_of(tmp_path, {"w": np.array([1e-3, 2.0])}, dtype=np.float64))
    assert found.gram[0, 0] == pytest.approx(4 + 1e-6, rel=1e-6)


def test_progress_counts_every_element_of_every_input(tmp_path: Path) -> None:
    seen: list[int] = []
    cohort = cohort_of(tmp_path, {"w": np.ones(SPAN + 1)}, {"w": np.ones(SPAN + 1)})
    measure_cohort(cohort, Threads(1), on_elements=seen.append)
    assert sum(seen) == 2 * (SPAN + 1)
