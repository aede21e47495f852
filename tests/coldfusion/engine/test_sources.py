from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from coldfusion.checkpoint import Checkpoint
from coldfusion.codecs import CODECS
from coldfusion.deltas import write_delta
from coldfusion.engine.sources import CheckpointSource, Cohort, DeltaSource, Mismatch, Source
from coldfusion.engine.spans import Span, spans_of
from coldfusion.errors import ConfigError, TensorMismatch
from coldfusion.tensorfile import TensorFile


def checkpoint(folder: Path, **tensors: object) -> Checkpoint:
    folder.mkdir(parents=True)
    save_file({name: np.asarray(t) for name, t in tensors.items()}, folder / "model.safetensors")
    return Checkpoint(folder)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def deltas_of(cohort: Cohort, name: str = "w") -> list[list[float]]:
    (span,) = spans_of(cohort.body[name])
    return cohort.deltas(span, cohort.base_span(span)).tolist()


def cohort_of(base: Checkpoint, other: Checkpoint, mismatch: Mismatch) -> Cohort:
    return Cohort(base, (CheckpointSource("alice", other, mismatch),))


def delta_source(room: Path, base: Checkpoint, codec: str, values: np.ndarray) -> DeltaSource:
    write_delta(base, lambda name: values, room / codec, codec=codec)
    return DeltaSource(codec, TensorFile(room / codec), CODECS[codec])


def test_sources_are_sorted_by_their_keys(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", w=ones(2))
    cohort = Cohort(base, tuple(CheckpointSource(key, base) for key in ("c", "a", "b")))
    assert cohort.keys == ("a", "b", "c")


def test_two_sources_of_one_name_are_refused(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", w=ones(2))
    with pytest.raises(ConfigError, match="two inputs are called 'a'"):
        Cohort(base, (CheckpointSource("a", base), CheckpointSource("a", base)))


@pytest.mark.parametrize("codec", CODECS)
def test_a_checkpoint_and_its_delta_are_the_same_delta(tmp_path: Path, codec: str) -> None:
    base = checkpoint(tmp_path / "base", w=np.array([1.0, -2.0, 0.0], np.float32))
    values = np.array([1.5, -1.0, -0.25], np.float32)
    other = CheckpointSource("whole", checkpoint(tmp_path / "other", w=values))
    cohort = Cohort(base, (other, delta_source(tmp_path, base, codec, values)))
    assert deltas_of(cohort) == [[0.5, 1.0, -0.25]] * 2


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_a_span_is_computed_in_holds_every_input(tmp_path: Path, dtype: type) -> None:
    base = checkpoint(tmp_path / "base", w=np.zeros(1, np.float16))
    cohort = cohort_of(base, checkpoint(tmp_path / "other", w=np.ones(1, dtype)), "refuse")
    (span,) = spans_of(cohort.body["w"])
    assert cohort.working(span) is (np.float64 if dtype is np.float64 else np.float32)


@pytest.mark.parametrize(
    "tensors, said",
    [
        ({}, "alice: has no tensor 'w', the base has; say --mismatch base"),
        ({"w": ones(3, 2)}, r"alice: w has shape \[3, 2\], the base \[2, 2\]; say --mismatch base"),
        ({"w": np.ones((2, 2), np.int32)}, "alice: w is I32, the base has F32"),
        ({"w": ones(2, 2), "head": ones(1)}, "alice: has 'head', the base has no such tensor"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, tensors: dict[str, object], said: str) -> None:
    base = checkpoint(tmp_path / "base", w=ones(2, 2))
    with pytest.raises(TensorMismatch, match=said):
        cohort_of(base, checkpoint(tmp_path / "other", **tensors), "refuse")


def test_integer_buffers_are_nobodys_business(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", w=ones(2), position_ids=np.arange(4))
    cohort = cohort_of(base, checkpoint(tmp_path / "other", w=ones(2), token_type_ids=np.arange(9)), "refuse")
    assert list(cohort.body) == ["w"]


def test_mismatch_base_leaves_the_base_as_it_is(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", w=ones(2, 2), v=ones(2))
    cohort = cohort_of(base, checkpoint(tmp_path / "other", w=ones(3, 2), head=ones(1)), "base")
    assert deltas_of(cohort, "w") == [[0.0] * 4] and deltas_of(cohort, "v") == [[0.0] * 2]


@pytest.mark.parametrize("rows, expected", [(1, [1, 1, 0, 0]), (2, [1] * 4), (3, [1] * 4), (0, [0] * 4)])
def test_mismatch_rows_fuses_the_rows_that_both_have(
    tmp_path: Path, rows: int, expected: list[float]
) -> None:
    base = checkpoint(tmp_path / "base", w=ones(2, 2))
    cohort = cohort_of(base, checkpoint(tmp_path / "other", w=2 * ones(rows, 2)), "rows")
    assert deltas_of(cohort) == [expected]


def test_rows_are_counted_from_the_start_of_the_tensor_in_every_span(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", w=ones(3, 2))
    cohort = cohort_of(base, checkpoint(tmp_path / "other", w=2 * ones(2, 2)), "rows")
    span = Span(cohort.body["w"], 3, 6)
    assert cohort.deltas(span, cohort.base_span(span)).tolist() == [[1, 0, 0]]


def test_mismatch_rows_still_refuses_other_columns(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", w=ones(2, 2))
    with pytest.raises(TensorMismatch, match=r"w has shape \[2, 3\]"):
        cohort_of(base, checkpoint(tmp_path / "other", w=ones(2, 3)), "rows")


@pytest.mark.parametrize("wrong", [np.ones(3, np.int32), np.ones((2, 2), np.int32), np.ones(2, np.int64)])
def test_a_delta_that_does_not_fit_is_refused_by_name(tmp_path: Path, wrong: np.ndarray) -> None:
    base = checkpoint(tmp_path / "base", w=ones(2))
    save_file({"w": wrong}, tmp_path / "delta")
    source: Source = DeltaSource("bob", TensorFile(tmp_path / "delta"), CODECS["exact"])
    with pytest.raises(TensorMismatch, match=r"bob: w is I(32|64)\[.*\], expected I32\[2\]"):
        Cohort(base, (source,))


def test_a_delta_without_a_tensor_is_refused_by_name(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", w=ones(2))
    save_file({"v": np.ones(2, np.int32)}, tmp_path / "delta")
    with pytest.raises(TensorMismatch, match="bob: has no tensor 'w'"):
        Cohort(base, (DeltaSource("bob", TensorFile(tmp_path / "delta"), CODECS["exact"]),))


def test_inputs_are_not_changed(tmp_path: Path) -> None:
    """Values that need no widening are handed on as they were read: nothing may be computed in them."""
    base = checkpoint(tmp_path / "base", w=ones(2))
    cohort = cohort_of(base, checkpoint(tmp_path / "other", w=2 * ones(2)), "refuse")
    (span,) = spans_of(cohort.body["w"])
    base_span = cohort.base_span(span)
    cohort.deltas(span, base_span)
    assert base_span.values.tolist() == [1, 1] and base_span.raw.tolist() == [1, 1]
