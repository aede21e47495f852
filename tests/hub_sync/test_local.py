import multiprocessing
import os
import subprocess
from pathlib import Path

import pytest

from coldfusion.errors import NotOnHub, StaleParent, StorageError
from hub_sync.address import open_hub
from hub_sync.local import LocalHub
from hub_sync.pointers import Pointer


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.safetensors"
    path.write_bytes(b"tensor")
    return path


def test_large_files_are_pointers_in_git_and_blobs_beside_it(tmp_path: Path, file: Path) -> None:
    hub = LocalHub(tmp_path / "store")
    revision = hub.commit({"model.safetensors": file}, message="1", parent=None)
    blob = hub.fetch("model.safetensors", at=revision)
    assert blob.is_relative_to(tmp_path / "store" / "blobs") and blob.stat().st_mode & 0o222 == 0
    repo = tmp_path / "store" / "repos" / "local" / "federation.git"
    shown = subprocess.run(
        ["git", "--git-dir", repo, "show", f"{revision}:model.safetensors"], capture_output=True, check=True
    ).stdout
    assert shown == Pointer(blob.name, 6).encode()


def test_the_first_commit_tells_stock_git_which_files_are_large(tmp_path: Path, file: Path) -> None:
    hub = LocalHub(tmp_path / "store")
    revision = hub.commit({"model.safetensors": file}, message="1", parent=None)
    text = hub.fetch(".gitattributes", at=revision).read_text()
    assert "*.safetensors filter=lfs diff=lfs merge=lfs -text\n" in text


def test_stock_git_finds_nothing_wrong_with_the_repository(tmp_path: Path, file: Path) -> None:
    hub = LocalHub(tmp_path / "store")
    revision = hub.commit({"a/b/c.txt": file, "a/d.txt": file}, message="1", parent=None)
    hub.propose({"x.txt": file}, title="t", message="m", parent=revision)
    repo = tmp_path / "store" / "repos" / "local" / "federation.git"
    found = subprocess.run(["git", "--git-dir", repo, "fsck", "--strict"], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_two_objects_on_one_folder_are_one_repo(tmp_path: Path, file: Path) -> None:
    one, two = LocalHub(tmp_path / "store"), open_hub(f"file://{tmp_path}/store")
    revision = one.commit({"a": file}, message="1", parent=None)
    assert two.head() == revision
    two.commit({"b": file}, message="2", parent=revision)
    with pytest.raises(StaleParent):
        one.commit({"c": file}, message="2", parent=revision)


def test_repos_of_one_store_are_apart(tmp_path: Path, file: Path) -> None:
    one, two = (LocalHub(tmp_path / "store", repo_id=f"lab/{name}") for name in ("one", "two"))
    first = one.commit({"a": file}, message="1", parent=None)
    assert one.propose({"b": file}, title="t", message="m", parent=first).number == 1
    with pytest.raises(NotOnHub):
        two.head()
    assert two.proposals() == []


def test_comments_are_kept(tmp_path: Path, file: Path) -> None:
    hub = LocalHub(tmp_path / "store")
    first = hub.commit({"a": file}, message="1", parent=None)
    number = hub.propose({"b": file}, title="t", message="m", parent=first).number
    hub.settle(number, comment="fused")
    assert hub.discussions.comments(hub.repo_id, number) == ["fused"]
    assert hub.discussions.status(hub.repo_id, number) == "closed"


def test_an_address_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotOnHub, match="no local store there"):
        open_hub(str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


def test_a_store_that_cannot_be_written_is_a_storage_error(tmp_path: Path, file: Path) -> None:
    (tmp_path / "store").write_text("in the way")
    with pytest.raises(StorageError, match="store"):
        LocalHub(tmp_path / "store")


def test_a_pull_request_whose_author_died_half_way_is_not_there(tmp_path: Path, file: Path) -> None:
    hub = LocalHub(tmp_path / "store")
    first = hub.commit({"a": file}, message="1", parent=None)
    hub._git.move("refs/pr/1", old=None, new=first)  # the ref was written, the row was not
    assert hub.proposals() == []
    assert hub.propose({"b": file}, title="t", message="m", parent=first).number == 2


def test_a_lock_file_of_a_process_that_died_is_no_obstacle(tmp_path: Path, file: Path) -> None:
    hub = LocalHub(tmp_path / "store")
    first = hub.commit({"a": file}, message="1", parent=None)
    (hub._git.path / "refs/heads/main.lock").touch()
    assert hub.head() == first
    assert hub.commit({"b": file}, message="2", parent=first) == hub.head()


def test_what_a_dead_process_left_unfinished_is_swept_up(tmp_path: Path, file: Path) -> None:
    hub = LocalHub(tmp_path / "store")
    hub.commit({"a.safetensors": file}, message="1", parent=None)
    left = tmp_path / "store" / "blobs" / "incoming" / "left"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    hub.commit({"b.safetensors": file}, message="2", parent=hub.head())
    assert not left.exists()


def race(store: Path, file: Path, parent: str, name: str, barrier: object, results: object) -> None:
    hub = LocalHub(store)
    barrier.wait()  # type: ignore[attr-defined]
    hub.propose({f"{name}.txt": file}, title=name, message="m", parent=parent)  # type: ignore[arg-type]
    try:
        hub.commit({f"{name}.txt": file}, message=name, parent=parent)  # type: ignore[arg-type]
        results.put(name)  # type: ignore[attr-defined]
    except StaleParent:
        results.put(None)  # type: ignore[attr-defined]


def test_of_processes_that_commit_at_once_one_wins_and_no_proposal_is_lost(
    tmp_path: Path, file: Path
) -> None:
    store, context = tmp_path / "store", multiprocessing.get_context("spawn")
    parent = LocalHub(store).commit({"a": file}, message="1", parent=None)
    barrier, results = context.Barrier(4), context.Queue()
    workers = [
        context.Process(target=race, args=(store, file, parent, f"w{i}", barrier, results)) for i in range(4)
    ]
    for worker in workers:
        worker.start()
    winners = [name for _ in workers if (name := results.get(timeout=60))]
    for worker in workers:
        worker.join()
    hub = LocalHub(store)
    assert len(winners) == 1
    assert [info.path for info in hub.paths("w", at=hub.head())] == [f"{winners[0]}.txt"]
    assert [p.number for p in hub.proposals()] == [1, 2, 3, 4]
    assert sorted(p.title for p in hub.proposals()) == ["w0", "w1", "w2", "w3"]


def test_a_broken_database_is_a_storage_error(tmp_path: Path) -> None:
    LocalHub(tmp_path / "store")
    for path in (tmp_path / "store").glob("hub.sqlite3*"):
        path.unlink()
    (tmp_path / "store" / "hub.sqlite3").write_text("this is no database" * 100)
    with pytest.raises(StorageError, match="cannot use .*hub.sqlite3"):
        LocalHub(tmp_path / "store")
