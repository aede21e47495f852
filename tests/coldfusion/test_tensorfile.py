import json
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from coldfusion.errors import StorageError, TensorMismatch
from coldfusion.tensorfile import TensorFile, TensorInfo
from coldfusion.tensorwriter import TensorWriter

SHAPES = st.lists(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4), min_size=1, max_size=5)
NAMES = {"F32": np.float32, "F64": np.float64, "F16": np.float16, "I64": np.int64, "BOOL": np.bool_}


def raw(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def entry(dtype: str = "F32", shape: object = (1,), offsets: object = (0, 4)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_a_range_of_a_tensor_is_read_without_the_rest(tmp_path: Path) -> None:
    save_file({"a": np.arange(3.0), "b": np.arange(12.0).reshape(3, 4)}, tmp_path / "x")
    with TensorFile(tmp_path / "x") as file:
        assert file.tensors["b"] == TensorInfo("b", "F64", (3, 4))
        assert file.read("b", 5, 8).tolist() == [5, 6, 7]
        assert file.read("a").tolist() == [0, 1, 2]


@given(shapes=SHAPES, dtype=st.sampled_from(sorted(NAMES)))
def test_what_is_written_is_what_safetensors_reads(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[tuple[int, ...]], dtype: str
) -> None:
    path = tmp_path_factory.mktemp("x") / "file"
    arrays = {
        f"t{i}": np.arange(np.prod(shape, dtype=int)).astype(NAMES[dtype]).reshape(shape)
        for i, shape in enumerate(shapes)
    }
    infos = [TensorInfo(name, dtype, array.shape) for name, array in arrays.items()]
    with TensorWriter(path, infos, {"format": "pt"}) as out:
        for name, array in reversed(arrays.items()):  # the order of writing does not matter
            for i, value in enumerate(array.reshape(-1)):
                out.write(name, i, np.array([value]))
    for name, array in load_file(path).items():
        np.testing.assert_array_equal(array, arrays[name])
    with safe_open(path, "numpy") as theirs, TensorFile(path) as ours:
        assert theirs.metadata() == ours.metadata == {"format": "pt"}
        assert all((ours.read(name) == array.reshape(-1)).all() for name, array in arrays.items())


def test_nothing_is_under_the_name_until_all_is_written(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), TensorWriter(tmp_path / "x", [TensorInfo("a", "F32", (2,))], {}) as out:
        out.write("a", 0, np.zeros(2, np.float32))
        assert not (tmp_path / "x").exists()
        raise RuntimeError("killed half-way")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write .*no-such"):
        TensorWriter(tmp_path / "no-such" / "x", [], {})


ATTACKS: dict[str, bytes] = {
    "empty": b"",
    "shorter than its length": b"\x01\x02",
    "header longer than the file": raw(b"{}")[:9],
    "enormous header": (2**63).to_bytes(8, "little") + b"{}",
    "not JSON": raw(b"{nope}"),
    "not an object": raw(b"[]"),
    "deep nesting": raw(b"[" * 100_000),
    "a name twice": raw(
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
        b"xx",
    ),
    "unknown dtype": raw(json.dumps({"a": entry("F1")}).encode(), b"1234"),
    "negative shape": raw(json.dumps({"a": entry(shape=[-1])}).encode(), b"1234"),
    "shape of floats": raw(json.dumps({"a": entry(shape=[1.0])}).encode(), b"1234"),
    "shape that overflows": raw(json.dumps({"a": entry(shape=[2**62, 4])}).encode(), b"1234"),
    "more dimensions than there are": raw(json.dumps({"a": entry(shape=[1] * 17)}).encode(), b"1234"),
    "offsets backwards": raw(json.dumps({"a": entry(offsets=[4, 0])}).encode(), b"1234"),
    "offsets past the end": raw(json.dumps({"a": entry(offsets=[0, 8], shape=[2])}).encode(), b"1234"),
    "size and shape disagree": raw(json.dumps({"a": entry(shape=[2])}).encode(), b"1234"),
    "overlap": raw(json.dumps({"a": entry(), "b": entry()}).encode(), b"1234"),
    "hole": raw(json.dumps({"a": entry(), "b": entry(offsets=[8, 12])}).encode(), b"1" * 12),
    "data after the end": raw(json.dumps({"a": entry()}).encode(), b"12345"),
    "metadata that is no text": raw(json.dumps({"__metadata__": {"a": 1}}).encode()),
    "entry that is no object": raw(json.dumps({"a": 3}).encode()),
}


@pytest.mark.parametrize("data", ATTACKS.values(), ids=ATTACKS)
def test_a_malformed_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(TensorMismatch, match="x: "):
        TensorFile(tmp_path / "x")


@given(position=st.integers(0, 200), value=st.integers(0, 255))
def test_a_flipped_byte_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    path = tmp_path_factory.mktemp("x") / "file"
    save_file({"a": np.arange(6.0).reshape(2, 3), "b": np.zeros(3, np.int8)}, path)
    data = bytearray(path.read_bytes())
    data[position % len(data)] = value
    path.write_bytes(data)
    try:
        with TensorFile(path) as file:
            assert all(len(file.read(name)) == info.count for name, info in file.tensors.items())
    except TensorMismatch:
        pass


def test_who_writes_after_the_end_writes_into_no_other_file(tmp_path: Path) -> None:
    info = TensorInfo("a", "F32", (2,))
    with TensorWriter(tmp_path / "x", [info], {}) as out:
        out.write("a", 0, np.ones(2, np.float32))
    with TensorWriter(tmp_path / "y", [info], {}), pytest.raises(StorageError, match=r"cannot write .*/x"):
        out.write("a", 0, np.ones(2, np.float32))  # y has the number that x had
    assert not load_file(tmp_path / "y")["a"].any()
