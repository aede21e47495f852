"""However large a file is, the server's memory stays as it is."""

import os
import re
from pathlib import Path

import pytest

from tests.hub_sync.served import in_process, populate

MEGABYTES = 300


@pytest.mark.slow
@pytest.mark.parametrize("xet", [False, True], ids=["lfs", "xet"])
def test_a_large_file_up_and_down_takes_no_memory(
    tmp_path: Path, xet: bool, request: pytest.FixtureRequest
) -> None:
    if not xet:
        request.getfixturevalue("lfs")
    (tmp_path / "file").write_bytes(os.urandom(MEGABYTES * 1_000_000))
    populate(tmp_path / "store")
    with in_process(tmp_path / "store") as (hub, server):
        repo, status = hub.new_repo(), Path(f"/proc/{server.pid}/status")
        before = peak(status)
        hub.api().upload_file(path_or_fileobj=tmp_path / "file", path_in_repo="a.bin", repo_id=repo)
        down = hub.api().hf_hub_download(repo, "a.bin", local_dir=tmp_path / "down")
        assert Path(down).stat().st_size == MEGABYTES * 1_000_000
        assert peak(status) - before < 60  # MB


def peak(status: Path) -> float:
    """Resident memory at its highest, in MB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    assert found is not None
    return int(found[1]) / 1000
