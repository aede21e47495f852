"""The library is made of the source beside it, and where it cannot be made nothing else suffers."""

import subprocess
import sys
from pathlib import Path

import pytest

from coldfusion.native import building, kernels


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(building, "LIBRARY", tmp_path / "lib.so")
    monkeypatch.setattr(kernels, "LIBRARY", tmp_path / "lib.so")
    kernels._library.cache_clear()
    yield tmp_path / "lib.so"
    kernels._library.cache_clear()


def test_without_a_compiler_there_is_one_line_and_no_library(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for compiler in ("/no/such/cc", "false"):
        monkeypatch.setenv("CC", compiler)
        assert not building.build()
        assert capfd.readouterr().err.startswith("coldfusion: no C kernels (")
    assert not list(elsewhere.parent.iterdir()) and kernels.library() is None


@pytest.mark.skipif(kernels.library() is None, reason="no compiler at installation")
def test_a_library_of_another_source_is_not_used(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "cc -O0")
    assert building.build() and kernels.library() is not None
    kernels._library.cache_clear()
    monkeypatch.setattr(kernels, "digest", lambda: "0" * 64)
    assert kernels.library() is None


def test_it_is_switched_off_by_the_environment() -> None:
    script = "from coldfusion.native import kernels; print(kernels.library())"
    environment = {"COLDFUSION_NATIVE": "0", "PATH": "/usr/bin"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "None\n"
