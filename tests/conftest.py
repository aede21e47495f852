"""Everything here runs without a network, an account or a GPU; models and data are made on the spot."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from contributors.pool import Pool

# Read by the libraries when they are imported, so set before any of them is.
os.environ |= {
    "HF_HOME": tempfile.mkdtemp(prefix="coldfusion-tests-"),
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
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
