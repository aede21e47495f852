import pickle
from pathlib import Path

import numpy as np
import pytest

from coldfusion import outputs
from coldfusion.outputs import finish, take_left
from coldfusion.tensorfile import TensorFile, TensorInfo
from coldfusion.tensorwriter import TensorWriter

INFOS = [TensorInfo("a", "F32", (4,)), TensorInfo("b", "BF16", (2,))]


@pytest.mark.parametrize("kernel", ["the same", "another"])
def test_a_worker_that_sees_the_file_writes_into_it(
    tmp_path: Path, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TensorWriter(tmp_path / "x", INFOS, {}) as writer:
        sent = pickle.dumps(writer)
        if kernel == "another":
            monkeypatch.setattr(outputs, "kernel", lambda: "elsewhere")
        there = pickle.loads(sent)
        there.write("a", 2, np.array([3, 4], np.float32))
        there.write("b", 0, np.array([7, 8], np.uint16))
        writer.write("a", 0, np.array([1, 2], np.float32))
    with TensorFile(tmp_path / "x") as file:
        assert file.read("a").tolist() == [1, 2, 3, 4] and file.read("b").tolist() == [7, 8]
    assert take_left() == []


def test_a_worker_that_does_not_see_it_leaves_the_writing_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TensorWriter(tmp_path / "x", INFOS, {}) as writer:
        sent = pickle.dumps(writer)
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr("os.access", lambda path, mode: False)
            there = pickle.loads(sent)
        scratch = np.array([1, 2], np.float32)
        there.write("a", 2, scratch)
        scratch[:] = 0  # the worker goes on
        left = pickle.loads(pickle.dumps(take_left()))
        finish(left)
    finish(left)  # too late, and nobody's business any more
    with TensorFile(tmp_path / "x") as file:
        assert file.read("a").tolist() == [0, 0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
