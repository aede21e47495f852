"""The folder behind both doors: what it brings up to date, moves, collects and sweeps."""

import os
import time
from pathlib import Path

import pytest

from coldfusion.errors import NotOnHub, StorageError
from coldfusion.records import Revision
from hub_sync.blobs import ABANDONED
from hub_sync.gitrepo import MAIN, GitRepo
from hub_sync.local import LocalHub
from hub_sync.pointers import Pointer
from hub_sync.repos import RepoRow, start_move
from hub_sync.store import Store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.safetensors"
    path.write_bytes(b"tensor")
    return path


def test_a_store_from_before_there_was_a_table_of_repos_is_brought_up_to_date(
    tmp_path: Path, file: Path
) -> None:
    LocalHub(tmp_path, repo_id="lab/old").commit({"a": file}, message="m", parent=None)
    with Store(tmp_path).database.exclusive() as db:
        db.execute("DELETE FROM repos")
        db.execute("PRAGMA user_version = 0")
    (found,) = Store(tmp_path).repos.all()
    assert (found.key, found.kind, found.private) == ("lab/old", "model", False)


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    with Store(tmp_path).database.exclusive() as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="was made by a newer coldfusion"):
        Store(tmp_path)


def test_a_small_file_that_reads_like_a_pointer_stays_a_file(tmp_path: Path) -> None:
    """In git it would be taken for one, and its reader would get another file, or none."""
    pretender = tmp_path / "pretender.txt"
    pretender.write_bytes(Pointer("0" * 64, 5).encode())
    hub = LocalHub(tmp_path / "store")
    revision = hub.commit({"a.txt": pretender}, message="m", parent=None)
    assert hub.fetch("a.txt", at=revision).read_bytes() == pretender.read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "version https://git-lfs.github.com/spec/v1\noid sha256:../../../etc/passwd\nsize 5\n",
        "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize x\n",
        "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 5\nmore\n",
    ],
)
def test_what_is_not_quite_a_pointer_is_none(text: str) -> None:
    assert Pointer.decode(text.encode()) is None


def test_creating_begins_afresh_where_a_crash_left_something_and_refuses_what_is_there(
    tmp_path: Path,
) -> None:
    store, row = Store(tmp_path), RepoRow(key="lab/new", private=True)
    GitRepo.make(tmp_path / "repos" / "lab" / "new.git").move(MAIN, old=None, new=Revision("1" * 40))
    assert store.create(row, files={"a": b"1"}, author="alice")
    head = store.git("lab/new").ref(MAIN)
    assert head and list(store.git("lab/new").files(head)) == ["a"]
    assert store.repos.find("LAB/NEW") is not None
    assert not store.create(row, files={}, author="bob")


def test_looking_for_a_repo_that_is_not_there_makes_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create(RepoRow(key="lab/old"), files={"a": b"1"}, author="alice")
    assert store.move("lab/old", "lab/new")
    with pytest.raises(NotOnHub):
        store.git("lab/old")
    assert store.move("lab/new", "lab/old")


def test_a_move_takes_the_place_of_a_folder_without_a_row(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create(RepoRow(key="lab/old"), files={"a": b"1"}, author="alice")
    GitRepo.make(tmp_path / "repos" / "lab" / "new.git")
    assert store.move("lab/old", "lab/new")
    head = store.git("lab/new").ref(MAIN)
    assert head and list(store.git("lab/new").files(head)) == ["a"]


def test_a_name_that_was_announced_and_taken_meanwhile_stays_with_who_has_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name in ("old", "new"):
        store.create(RepoRow(key=f"lab/{name}"), files={name: b"1"}, author="alice")
    with store.database.exclusive() as db:
        start_move(db, "lab/old", "lab/new")
    found = Store(tmp_path)
    for name in ("old", "new"):
        head = found.git(f"lab/{name}").ref(MAIN)
        assert head and list(found.git(f"lab/{name}").files(head)) == [name]


def test_sweeping_frees_what_is_old_and_reached_by_nothing(tmp_path: Path, file: Path) -> None:
    hub, store = LocalHub(tmp_path), Store(tmp_path)
    revision = hub.commit({"kept.safetensors": file}, message="m", parent=None)
    file.write_bytes(b"old")
    old, _ = store.blobs.put(file)
    file.write_bytes(b"young")
    young, _ = store.blobs.put(file)
    day_before = time.time() - ABANDONED - 60
    for path in (store.blobs.path(old), hub.fetch("kept.safetensors", at=revision)):
        os.utime(path, (day_before, day_before))
    store.sweep()
    assert not store.blobs.has(old) and store.blobs.has(young)
    assert hub.fetch("kept.safetensors", at=revision).read_bytes() == b"tensor"


def test_what_somebody_is_about_to_commit_is_not_collected(tmp_path: Path, file: Path) -> None:
    store = Store(tmp_path)
    sha256, size = store.blobs.put(file)
    with store.database.exclusive() as db:
        db.execute("INSERT INTO uploads VALUES (?, 'alice', ?, ?)", (sha256, size, time.time()))
        store.collect(db, {sha256})
    assert store.blobs.has(sha256)
    with store.database.exclusive() as db:
        db.execute("DELETE FROM uploads")
        store.collect(db, {sha256})
    assert not store.blobs.has(sha256)
