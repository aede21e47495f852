"""What a kill at the worst moment leaves, and that the next sweep puts it right."""

import os
import time
from pathlib import Path

import pytest

from coldfusion.errors import NotOnHub
from coldfusion.records import Revision
from hub_sync.blobs import ABANDONED
from hub_sync.discussions import Discussion, add_discussion
from hub_sync.gitrepo import MAIN
from hub_sync.repos import RepoRow
from hub_sync.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    store.create(RepoRow(key="lab/m"), files={"a": b"1"}, author="alice")
    return store


def head_of(store: Store) -> Revision:
    head = store.git("lab/m").ref(MAIN)
    assert head is not None
    return head


def propose(store: Store, number: int, path: str = "new") -> Revision:
    """A pull request as a kill leaves it: the ref is there and the row is not."""
    git, head = store.git("lab/m"), head_of(store)
    tree = {**git.files(head), path: git.add(b"new")}
    new = git.commit(tree, parents=[head], message="m", author="bob")
    git.move(f"refs/pr/{number}", old=None, new=new)
    return new


def open_row(store: Store, number: int) -> None:
    facts = {"repo": "lab/m", "number": number, "title": "t", "author": "bob", "status": "open"}
    with store.database.exclusive() as db:
        add_discussion(db, Discussion(**facts, is_pull_request=True, created_at=0, base=MAIN))  # type: ignore[arg-type]


def test_folders_as_deep_as_they_come_are_looked_through(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub_sync.gitrepo.os.fsync", lambda _: None)  # 512 times
    propose(store, 1, "/".join(["b"] * 512))  # as could be sent before there was a limit
    store.create(RepoRow(key="lab/other"), files={}, author="alice")
    store.sweep()
    store.delete("lab/other")
    store.delete("lab/m")
    assert store.repos.all() == []


def test_a_namespace_may_be_called_like_what_is_deleted(store: Store) -> None:
    for name in ("deleted-scenes/m", "doomed/m"):
        store.create(RepoRow(key=name), files={"a": b"1"}, author="alice")
    store.sweep()
    assert store.git("deleted-scenes/m").ref(MAIN) and store.git("doomed/m").ref(MAIN)


def test_a_deletion_that_is_killed_leaves_the_repo_or_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(b"tensor")
    sha256, _ = store.blobs.put(tmp_path / "large")
    os.utime(store.blobs.path(sha256), (0, 0))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "doom", killed)
        store.delete("lab/m")
    assert store.repos.find("lab/m") is None and store.blobs.has(sha256)
    folder = store.root / "repos" / "lab" / "m.git"
    assert folder.exists()
    Store(store.root).sweep()
    assert not folder.exists() and not store.blobs.has(sha256)
    assert not list((store.root / "doomed").iterdir())


def test_a_ref_whose_author_was_killed_goes_after_a_day(store: Store) -> None:
    for number in (1, 2, 3):
        propose(store, number)
    open_row(store, 3)
    git, old = store.git("lab/m"), time.time() - ABANDONED - 60
    for number in (1, 3):
        os.utime(git.path / "refs" / "pr" / str(number), (old, old))
    store.sweep()
    assert set(git.refs("refs/pr/")) == {"2", "3"}


def test_a_merge_that_was_killed_after_it_moved_the_branch_is_noted(store: Store) -> None:
    git, head = store.git("lab/m"), head_of(store)
    merged, waiting = propose(store, 1, "one"), propose(store, 2, "two")
    for number in (1, 2):
        open_row(store, number)
    new = git.commit(git.files(merged), parents=[head, merged], message="t (#1)", author="alice")
    git.move(MAIN, old=head, new=new)
    after = git.commit(git.files(new), parents=[new], message="more", author="alice")
    git.move(MAIN, old=new, new=after)
    store.sweep()
    found = store.discussions.get("lab/m", 1)
    assert (found.status, found.merge_commit) == ("merged", new)
    assert store.discussions.status("lab/m", 2) == "open" and git.ref("refs/pr/2") == waiting


def test_what_is_deleted_meanwhile_does_not_stop_a_sweep(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.repos, "all", lambda: [RepoRow(key="lab/gone"), RepoRow(key="lab/m")])
    with pytest.raises(NotOnHub):
        store.git("lab/gone")
    store.sweep()


def test_the_sweeper_goes_on_after_anything(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hub_sync.server import serving

    class Stop(BaseException):
        pass

    class Waiting:
        def wait(self, _: float) -> None:
            raise Stop

    def broken() -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr(store, "sweep", broken)
    monkeypatch.setattr(serving.threading, "Event", Waiting)
    with pytest.raises(Stop):
        serving._sweep(store)
    assert "RecursionError: too deep" in capsys.readouterr().err


def test_a_new_store_is_for_its_owner_alone(tmp_path: Path) -> None:
    root = tmp_path / "new" / "store"
    Store(root)
    assert root.stat().st_mode & 0o777 == 0o700
    assert (root / "hub.sqlite3").stat().st_mode & 0o777 == 0o600
    root.chmod(0o750)
    Store(root)
    assert root.stat().st_mode & 0o777 == 0o750  # its owner's wish
