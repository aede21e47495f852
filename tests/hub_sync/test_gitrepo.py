"""Git through dulwich: history, merges, rewriting, diffs."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from coldfusion.errors import HubError, NotOnHub
from coldfusion.records import Revision
from hub_sync.differences import MAX_DIFF, MAX_FILE, diff
from hub_sync.gitrepo import MAIN, GitRepo, check_path, is_ref_name
from hub_sync.history import last_changes, merge_base
from hub_sync.merging import merge
from hub_sync.pointers import Pointer
from hub_sync.rewriting import rewrite_without


@pytest.fixture
def git(tmp_path: Path) -> GitRepo:
    return GitRepo.make(tmp_path / "repo.git")


def commit(git: GitRepo, files: Mapping[str, str], *parents: Revision, at: int = 0) -> Revision:
    tree = {path: git.add(text.encode()) for path, text in files.items()}
    return git.commit(tree, parents=parents, message="m", author="alice", at=at)


def test_history_is_newest_first_and_never_a_parent_before_its_child(git: GitRepo) -> None:
    root = commit(git, {}, at=5)
    left, right = commit(git, {"a": "1"}, root, at=7), commit(git, {"b": "1"}, root, at=6)
    top = commit(git, {"a": "1", "b": "1"}, left, right, at=1)  # a clock that went backwards
    assert [c.revision for c in git.history(top)] == [top, left, right, root]
    assert merge_base(git, left, right) == root and merge_base(git, top, left) == left


def test_a_commit_is_found_by_the_beginning_of_its_id(git: GitRepo) -> None:
    revision = commit(git, {"a": "1"})
    assert git.expand(revision[:7]) == git.expand(revision) == revision
    assert git.expand("abc") is None and git.expand("0" * 40) is None and git.expand("main") is None
    blob = git.add(b"1").decode()
    assert git.expand(blob) is None and not git.has(blob)


def test_the_last_change_of_files_and_folders(git: GitRepo) -> None:
    one = commit(git, {"a": "1", "d/x": "1", "d/y": "1"})
    two = commit(git, {"a": "1", "d/x": "2", "d/y": "1"}, one)
    found = last_changes(git, two, ["a", "d", "d/x", "d/y", "nothing"])
    assert {path: commit.revision for path, commit in found.items()} == {
        "a": one,
        "d": two,
        "d/x": two,
        "d/y": one,
    }


def test_merging_takes_both_sides_changes_and_tells_conflicts(git: GitRepo) -> None:
    base = commit(git, {"same": "1", "ours": "1", "theirs": "1", "gone": "1", "both": "1", "alike": "1"})
    ours = commit(
        git, {"same": "1", "ours": "2", "theirs": "1", "gone": "1", "both": "2", "alike": "2"}, base
    )
    theirs = commit(
        git, {"same": "1", "ours": "1", "theirs": "2", "both": "3", "alike": "2", "new": "1"}, base
    )
    found = merge(git, ours, theirs)
    assert found.conflicts == ("both",)
    texts = {path: git.blob(sha).decode() for path, sha in found.files.items()}
    assert texts == {"same": "1", "ours": "2", "theirs": "2", "both": "2", "alike": "2", "new": "1"}


def test_a_diff_of_text_binary_large_and_very_much(git: GitRepo) -> None:
    old = commit(git, {"a": "one\ntwo\n", "b": "\0"})
    new = commit(git, {"a": "one\n2", "b": "\0\0", "c": "x" * (MAX_FILE + 1)}, old)
    assert diff(git, old, new) == (
        "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n"
        " one\n-two\n+2\n\\ No newline at end of file\n"
        "diff --git a/b b/b\nBinary files a/b and b/b differ\n"
        "diff --git a/c b/c\nBinary files /dev/null and b/c differ\n"
    )
    long = commit(git, {"a": "x\n" * 1001, "b": "\0"}, old)
    assert diff(git, old, long).endswith("Files a/a and b/a differ\n")
    many = commit(git, {f"{number:03}": f"{'x' * 30}\n" * 900 for number in range(20)}, old)
    found = diff(git, old, many)
    assert len(found) < MAX_DIFF + 100 and found.endswith("... the rest is left out\n")


def test_rewriting_takes_a_large_file_out_of_all_history_and_nothing_else(git: GitRepo) -> None:
    doomed, kept = Pointer("1" * 64, 5), Pointer("2" * 64, 5)
    first = commit(git, {"a": "1"})
    second = commit(
        git, {"a": "1", "x.bin": doomed.encode().decode(), "y.bin": kept.encode().decode()}, first
    )
    third = commit(git, {"a": "2", "y.bin": kept.encode().decode()}, second)
    for ref, revision in ((MAIN, third), ("refs/tags/old", first), ("refs/pr/1", second)):
        git.move(ref, old=None, new=revision)
    moved = rewrite_without(git, {doomed.sha256})
    assert set(moved) == {MAIN, "refs/pr/1"} and git.ref("refs/tags/old") == first
    head = git.ref(MAIN)
    assert head is not None
    history = [sorted(git.files(c.revision)) for c in git.history(head)]
    assert history == [["a", "y.bin"], ["a", "y.bin"], ["a"]]


@pytest.mark.parametrize(
    "path", ["", "/", "a/", "..", "a/../b", ".git", "a/.Git", "a\\b", "a\nb", "x" * 1025, "/".join("a" * 33)]
)
def test_paths_that_are_refused(path: str) -> None:
    with pytest.raises(HubError, match="cannot be on the Hub"):
        check_path(path)


@pytest.mark.parametrize("name", ["refs/heads/a b", "refs/heads/../x", "refs/heads/ä", "refs/heads/a.lock"])
def test_ref_names_that_are_refused(name: str) -> None:
    assert not is_ref_name(name) and is_ref_name("refs/heads/a-b/c.d")


def test_what_is_not_there_is_told(git: GitRepo) -> None:
    with pytest.raises(NotOnHub):
        git.files(Revision("0" * 40))
