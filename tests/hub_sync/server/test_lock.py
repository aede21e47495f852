"""What one caller sends does not keep the others waiting: it is on the disk before the lock is taken."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pytest
from dulwich.objects import ObjectID
from huggingface_hub.errors import HfHubHTTPError

from hub_sync.gitrepo import GitRepo
from hub_sync.store import MARK
from tests.hub_sync.served import add, in_thread


def is_free(root: Path) -> bool:
    """Whether nobody holds the lock of a store."""
    db = sqlite3.connect(root / MARK, timeout=0, isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
        db.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    finally:
        db.close()
    return True


def test_folders_are_written_before_the_lock_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with in_thread(tmp_path / "store") as hub:
        repo, add_tree, free = hub.new_repo(), GitRepo.add_tree, list[bool]()

        def watched(git: GitRepo, files: Mapping[str, ObjectID]) -> ObjectID:
            free.append(is_free(hub.root))
            return add_tree(git, files)

        monkeypatch.setattr(GitRepo, "add_tree", watched)
        api = hub.api()
        api.create_commit(repo, [add("a/b/c", b"1")], commit_message="m")
        hub.api("bob").create_commit(repo, [add("a/b/d", b"1")], commit_message="m", create_pr=True)
        api.create_commit(repo, [add("e", b"1")], commit_message="m", revision="refs/pr/1")
        api.create_commit(repo, [add("f", b"1")], commit_message="m")
        api.merge_pull_request(repo, 1)
        api.super_squash_history(repo)
        assert len(free) == 3 + 3 + 3 + 3 + 3 and all(free)
        assert api.list_repo_files(repo) == [".gitattributes", "a/b/c", "a/b/d", "e", "f"]


def test_a_branch_that_moves_before_the_lock_is_taken_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with in_thread(tmp_path / "store") as hub:
        repo, api, add_tree, others = hub.new_repo(), hub.api(), GitRepo.add_tree, ["theirs"]

        def outrun(git: GitRepo, files: Mapping[str, ObjectID]) -> ObjectID:
            if others:
                api.create_commit(repo, [add(others.pop(), b"1")], commit_message="m")
            return add_tree(git, files)

        monkeypatch.setattr(GitRepo, "add_tree", outrun)
        api.create_commit(repo, [add("ours", b"1")], commit_message="m")
        assert api.list_repo_files(repo) == [".gitattributes", "ours", "theirs"]


def test_a_commit_writes_to_so_many_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub_sync.server.commits.MOST_FOLDERS", 3)
    with in_thread(tmp_path / "store") as hub:
        repo, api = hub.new_repo(), hub.api()
        api.create_commit(repo, [add("a/b/c/d", b"1"), add("a/b/e", b"1")], commit_message="m")
        with pytest.raises(HfHubHTTPError, match="3 folders at most"):
            api.create_commit(repo, [add("a/b/c/d", b"2"), add("e/f", b"1")], commit_message="m")
