"""A Ray cluster that was started elsewhere: `pool.address` joins it, and leaves it running."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contributors.test_pool import add

ADDRESS = "127.0.0.1:6399"
SCRIPT = f"""
import sys
from pathlib import Path
from contributors.config import PoolConfig
from contributors.pool import open_pool
from tests.contributors.test_pool import add
with open_pool(PoolConfig(address="{ADDRESS}", cpus=0.5)) as pool:
    print(sorted(dict(pool.run(add, Path(sys.argv[1]), [1, 2], lambda *_: None)).items()))
"""


@pytest.fixture
def cluster() -> Iterator[None]:
    ray = str(Path(sys.executable).with_name("ray"))
    start = [ray, "start", "--head", "--port=6399", "--num-cpus=1", "--include-dashboard=false"]
    subprocess.run(start, check=True, capture_output=True)
    yield
    subprocess.run([ray, "stop", "--force"], check=True, capture_output=True)


@pytest.mark.slow  # `ray stop` would stop the Ray of other tests too
def test_jobs_run_on_a_cluster_that_was_there_before(cluster: None, tmp_path: Path) -> None:
    assert add.__module__ == "tests.contributors.test_pool"
    (tmp_path / "folder").mkdir()
    (tmp_path / "number").write_text("10")
    (tmp_path / "folder" / "number").write_text("200")
    root = Path(__file__).parents[2]
    for _ in range(2):  # leaving does not stop it
        command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=120)
        assert done.stdout.strip() == "[(1, 211), (2, 212)]", done.stderr[-2000:]
