"""Everything here runs without a network, an account or a GPU; models and data are made on the spot."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from contributors.pool import Pool
    from hub_sync.huggingface import HuggingFaceHub
    from tests.served import Served
    from tests.smalldisk import SmallDisk

MEMORY = Path("/dev/shm")  # a folder in memory, on Linux
ENOUGH = 2 << 30  # bytes; a run has some 0.5 GB of files at a time, and Ray keeps its objects there too


def quick_folder() -> str:
    """Where the tests' files go: into memory where it can be, since they wait for a disk thousands of times.

    A kill is survived there as on a disk. TMPDIR or PYTEST_DEBUG_TEMPROOT choose another place.
    """
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK):
        return tempfile.gettempdir()
    may_run_programs = not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC  # compiled kernels are loaded from there
    return (
        str(MEMORY) if may_run_programs and shutil.disk_usage(MEMORY).free > ENOUGH else tempfile.gettempdir()
    )


TEMPORARY = os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", quick_folder())
HOME = tempfile.mkdtemp(prefix="coldfusion-tests-", dir=TEMPORARY)
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

# Read by the libraries when they are imported, so set before any of them is.
os.environ |= {
    "HF_HOME": HOME,
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_XET_CLIENT_RETRY_BASE_DELAY": "50ms",  # it waits 3 s otherwise
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer encoder with 16 hidden units, and its tokenizer. To be read, not changed."""
    from experiments.smallbase import make_base
    from tests.tasks import sentences

    folder = tmp_path_factory.mktemp("tiny-base")
    make_base(folder, sentences(200, seed=0)[0], seed=0, hidden=16, vocabulary=300)
    return folder


@pytest.fixture(scope="session")
def two_cpus() -> Iterator[Pool]:
    """Ray on this machine, with two CPUs; started once for all tests."""
    from contributors.config import PoolConfig
    from contributors.pool import open_pool

    with open_pool(PoolConfig(workers=2)) as pool:
        yield pool


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A Hub of our own on this machine; started once for all tests."""
    from tests.served import add_people, start

    folder = tmp_path_factory.mktemp("served") / "store"
    add_people(folder)
    hub = start(folder)
    yield hub
    hub.stop()


@pytest.fixture
def client_of(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], HuggingFaceHub]:
    """account -> the real client on one new repo of `lab`, with a cache of its own."""
    from huggingface_hub import constants

    from hub_sync.huggingface import HuggingFaceHub
    from tests.served import token_of

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    repo = f"lab/{uuid.uuid4().hex[:12]}"
    return lambda account: HuggingFaceHub(repo, endpoint=served.url, token=token_of(account))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk with room for 200 kB, at tmp_path / "disk"."""
    from tests.smalldisk import SmallDisk

    small = SmallDisk(tmp_path / "disk")
    try:
        small.mount()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root can mount a file system")
    yield small
    small.unmount()


def pytest_collection_finish() -> None:
    """What was imported until now stays: no need to look through it for garbage after every training."""
    gc.collect()
    gc.freeze()
