import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from coldfusion.checkpoint import INDEX, Checkpoint, weight_files
from coldfusion.errors import BaseError


def sharded(folder: Path) -> Path:
    save_file({"a": np.ones(2, np.float32), "ids": np.arange(3)}, folder / "model-00001-of-00002.safetensors")
    save_file({"b": np.full(3, 2, np.float32)}, folder / "model-00002-of-00002.safetensors")
    write_index(folder, {"a": 1, "ids": 1, "b": 2})
    return folder


def write_index(folder: Path, shard_of: dict[str, int]) -> None:
    weight_map = {tensor: f"model-{shard:05}-of-00002.safetensors" for tensor, shard in shard_of.items()}
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))


def test_shards_are_read_as_one_model(tmp_path: Path) -> None:
    with Checkpoint(sharded(tmp_path)) as checkpoint:
        assert sorted(checkpoint.tensors) == ["a", "b", "ids"]
        assert checkpoint.read("b", 1, 3).tolist() == [2, 2]
    assert len(weight_files(tmp_path)) == 3


def test_the_body_is_the_floating_point_tensors(tmp_path: Path) -> None:
    with Checkpoint(sharded(tmp_path)) as checkpoint:
        assert sorted(checkpoint.body) == ["a", "b"]


@pytest.mark.parametrize(
    "lie",
    [{"a": 2, "ids": 1, "b": 2}, {"a": 1, "b": 2}, {"a": 1, "ids": 1, "b": 2, "c": 2}],
    ids=["wrong shard", "leaves one out", "invents one"],
)
def test_an_index_that_lies_is_refused(tmp_path: Path, lie: dict[str, int]) -> None:
    sharded(tmp_path)
    write_index(tmp_path, lie)
    with pytest.raises(BaseError, match="does not match its shards"):
        Checkpoint(tmp_path)


def test_an_index_cannot_reach_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    with pytest.raises(BaseError, match="not a file name"):
        Checkpoint(tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    (sharded(tmp_path) / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(BaseError, match="model-00002-of-00002.safetensors: named in"):
        Checkpoint(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseError, match="no model.safetensors"):
        Checkpoint(tmp_path)
