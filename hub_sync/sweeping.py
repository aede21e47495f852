"""What a store frees now and then: uploads that nobody committed, and what a kill left half done.

A kill can come between a file that is moved and the row that says so. Whatever that leaves is found here by
what it is: a folder or a ref without a row, or a pull request that is open and in its base already.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from coldfusion.errors import NotOnHub, writing
from coldfusion.records import Revision
from hub_sync.blobs import ABANDONED
from hub_sync.discussions import Discussion, set_merged
from hub_sync.gitrepo import MAIN, GitRepo
from hub_sync.pruning import prune
from hub_sync.repos import PREFIXES, has_repo

if TYPE_CHECKING:
    from hub_sync.store import Store


def sweep(store: Store) -> None:
    """Everything that there is to free or to put right."""
    store.blobs.forget_abandoned()
    store.spaces.sweep()
    for row in store.repos.all():
        with suppress(NotOnHub):  # deleted or renamed a moment ago
            note_merges(store, row.key)
            store.reach.of_repo(row.key)  # the long part of the work, before anybody has to wait
            prune(store.git(row.key), store.database)
    old = time.time() - ABANDONED
    with store.database.exclusive() as db, writing(store.root):
        store.finish_moves(db)
        _doom_what_has_no_row(store, db)
        for row in store.repos.all():
            with suppress(NotOnHub):
                _drop_what_has_no_discussion(store, db, row.key, old)
        db.execute("DELETE FROM uploads WHERE created_at < ?", (old,))
        store.collect(db, {path.name for path in store.blobs.all() if path.stat().st_mtime < old})
    store.clear_doomed()


def note_merges(store: Store, key: str) -> None:
    """A kill inside a merge leaves the branch moved and the pull request open: it was merged."""
    git, merges = store.git(key), dict[str, dict[Revision, Revision]]()
    for about in store.discussions.open_pull_requests(key):
        base, head = about.base or MAIN, git.ref(f"refs/pr/{about.number}")
        if base not in merges:
            merges[base] = _merges(git, base)
        if head and (commit := merges[base].get(head)):
            with store.database.exclusive() as db:
                if store.discussions.get(key, about.number).status == "open" and _is_at(git, about, head):
                    set_merged(db, about, commit, author=git.facts(commit).author)


def _merges(git: GitRepo, base: str) -> dict[Revision, Revision]:
    """What was merged into a branch -> the commit that did it."""
    tip = git.ref(base)
    commits = git.history(tip) if tip else iter(())
    return {parent: commit.revision for commit in commits for parent in commit.parents[1:]}


def _is_at(git: GitRepo, about: Discussion, head: Revision) -> bool:
    return git.ref(f"refs/pr/{about.number}") == head


def _doom_what_has_no_row(store: Store, db: sqlite3.Connection) -> None:
    """Repos are made under the lock: a folder without a row is a creation or a deletion that was killed."""
    repos = store.root / "repos"
    for prefix in PREFIXES.values():
        for folder in repos.glob(f"{prefix}*/*.git"):
            key = str(folder.relative_to(repos)).removesuffix(".git")
            if not has_repo(db, key):
                store.doom(key)


def _drop_what_has_no_discussion(store: Store, db: sqlite3.Connection, key: str, old: float) -> None:
    """The ref of a pull request is made before its row; whoever was killed in between is not waited for."""
    git = store.git(key)
    known = {discussion.number for discussion in store.discussions.all(key)}
    for name in list(git.refs("refs/pr/")):
        if int(name) not in known and (git.path / "refs" / "pr" / name).stat().st_mtime < old:
            store.drop(db, key, f"refs/pr/{name}")
