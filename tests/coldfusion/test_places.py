import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from coldfusion.checkpoint import Checkpoint
from coldfusion.errors import BaseError
from coldfusion.places import PRINT, Directory, LocalBytes, OneFile, contents, part
from coldfusion.tensorfile import TensorFile
from tests.coldfusion.test_checkpoint import sharded
from tests.helpers import write_checkpoint


def test_a_range_is_read_into_the_callers_memory(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    out = bytearray(4)
    file = LocalBytes(tmp_path / "x")
    file.read_into(memoryview(out), 3)
    assert bytes(out) == b"3456" and part(file, 8, 2) == b"89"
    with pytest.raises(EOFError):
        part(file, 8, 3)


def test_a_file_of_any_name_is_a_checkpoint(tmp_path: Path) -> None:
    save_file({"a": np.ones(2, np.float32)}, tmp_path / "epoch-3.safetensors")
    with Checkpoint(OneFile(tmp_path / "epoch-3.safetensors")) as checkpoint:
        assert list(checkpoint.shards) == ["model.safetensors"] and checkpoint.index is None
        assert checkpoint.read("a").tolist() == [1, 1]


def test_a_directory_gives_its_files_and_not_its_folders(tmp_path: Path) -> None:
    place = Directory(write_checkpoint(tmp_path / "x", {"a": np.ones(2, np.float32)}))
    (tmp_path / "x" / "runs").mkdir()
    assert place.names() == {"model.safetensors", "config.json"}
    assert contents(place, "config.json") == b"{}"
    assert Directory(tmp_path / "no-such").names() == ()


def test_what_is_open_may_be_sent_and_is_opened_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x").mkdir()
    with (
        Checkpoint(sharded(Path("x"))) as checkpoint,
        TensorFile(Path("x/model-00001-of-00002.safetensors")) as f,
    ):
        sent = pickle.dumps((checkpoint, f))
    monkeypatch.chdir("/")  # a worker has another working directory
    one, file_one = pickle.loads(sent)
    two, file_two = pickle.loads(sent)
    assert one is two and file_one is file_two and one is not checkpoint
    assert one.read("b").tolist() == [2, 2, 2] and file_one.read("a").tolist() == [1, 1]


@pytest.mark.parametrize("size", [10, PRINT // 4, 40 * PRINT], ids=["tiny", "small", "large"])
def test_a_worker_that_has_another_file_there_says_so(tmp_path: Path, size: int) -> None:
    values = np.random.default_rng(0).normal(size=size).astype(np.float32)
    folder = write_checkpoint(tmp_path / "x", {"a": values})
    with Checkpoint(folder) as checkpoint:
        sent = pickle.dumps(checkpoint)
    write_checkpoint(folder, {"a": values * np.float32(1.01)})
    with pytest.raises(BaseError, match=r"x/model.safetensors: is another file on .* than where this began"):
        pickle.loads(sent)
    write_checkpoint(folder, {"a": values})
    assert pickle.loads(sent).read("a").tolist() == values.tolist()


def test_a_worker_that_does_not_see_an_input_names_it(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "x", {"a": np.ones(2, np.float32)})
    with Checkpoint(folder) as checkpoint:
        sent = pickle.dumps(checkpoint)
    (folder / "model.safetensors").unlink()
    with pytest.raises(BaseError, match="x: no model.safetensors"):
        pickle.loads(sent)
