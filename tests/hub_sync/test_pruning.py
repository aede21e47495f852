"""What is freed of git, and what never is."""

import os
import time
from pathlib import Path

import pytest
from dulwich.objects import ObjectID

from hub_sync.blobs import ABANDONED
from hub_sync.gitrepo import MAIN, GitRepo
from hub_sync.pruning import is_there, prune
from hub_sync.repos import RepoRow
from hub_sync.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.create(RepoRow(key="lab/m"), files={"d/kept": b"kept"}, author="alice")
    return store


@pytest.fixture
def git(store: Store) -> GitRepo:
    return store.git("lab/m")


def age(git: GitRepo) -> None:
    """Everything in it was written two days ago."""
    for path in (git.path / "objects").glob("??/*"):
        os.utime(path, (time.time() - 2 * ABANDONED,) * 2)


def objects(git: GitRepo) -> int:
    return len(list((git.path / "objects").glob("??/*")))


def test_what_is_old_and_in_no_commit_of_a_ref_goes(store: Store, git: GitRepo) -> None:
    head = git.ref(MAIN)
    assert head
    refused = git.add(b"of a commit that was refused")
    lost = git.commit({"a": git.add(b"of a ref that was deleted")}, parents=[head], message="m", author="bob")
    (git.path / "objects" / refused.decode()[:2] / "tmp_obj_x").touch()  # of a process that was killed
    age(git)
    young = git.add(b"young")
    store.sweep()
    assert not is_there(git, refused) and not git.has(lost) and is_there(git, young)
    assert git.blob(git.files(head)["d/kept"]) == b"kept"
    assert objects(git) == 5  # a commit, two trees, two files


def test_what_is_added_again_is_young_again(store: Store, git: GitRepo) -> None:
    sha = git.add(b"data")
    age(git)
    git.add(b"data")
    store.sweep()
    assert is_there(git, sha)


def test_what_is_reached_by_a_pull_request_or_a_tag_stays(store: Store, git: GitRepo) -> None:
    shas = []
    for ref in ("refs/pr/1", "refs/tags/v1"):
        shas.append(git.add(ref.encode()))
        git.move(ref, old=None, new=git.commit({"a": shas[-1]}, parents=[], message="m", author="bob"))
    age(git)
    before = objects(git)
    store.sweep()
    assert objects(git) == before
    git.drop("refs/pr/1")
    store.sweep()
    assert [is_there(git, sha) for sha in shas] == [False, True]
    assert objects(git) == before - 3


def test_a_repo_that_is_damaged_or_has_packed_refs_is_left_alone(store: Store, git: GitRepo) -> None:
    sha = git.add(b"data")
    age(git)
    packed = git.path / "packed-refs"
    packed.touch()
    prune(git, store.database)
    assert is_there(git, sha)
    packed.unlink()
    git.move("refs/heads/broken", old=None, new=ObjectID(b"1" * 40).decode())  # type: ignore[arg-type]
    prune(git, store.database)
    assert is_there(git, sha)


def test_a_repo_in_which_nothing_changed_is_not_looked_at_again(
    store: Store, git: GitRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    age(git)
    prune(git, store.database)
    looks: list[object] = []
    monkeypatch.setattr("hub_sync.pruning._reach", lambda *_: looks.append(1))
    prune(git, store.database)
    assert looks == []
