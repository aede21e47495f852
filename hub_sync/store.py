"""The folder behind a Hub: one store, two doors (`hub_sync.local` in process, `hub_sync.server` over HTTP).

Layout: repos/<key>.git (bare git: refs, small files, LFS pointers), blobs/ (large files by sha256),
hub.sqlite3 (repos, discussions, people), cache/ (small files as files), doomed/ (repos on their way out).
Any number of processes may use one store at once.

The order of writing makes everything all or nothing: blobs first, then git objects, and the ref last, under
the store's lock. A repo is there as long as its row is. A process killed in between leaves what nothing
reaches, a folder without a row or a ref without one, and `hub_sync.sweeping` takes it away.
"""

from __future__ import annotations

import shutil
import sqlite3
import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

from coldfusion.errors import NotOnHub, StorageError, writing
from coldfusion.records import Revision
from hub_sync.blobs import BlobStore
from hub_sync.database import Database
from hub_sync.discussions import Discussions, highest_number
from hub_sync.gitrepo import MAIN, GitRepo
from hub_sync.reach import Reach
from hub_sync.repos import (
    RepoRow,
    Repos,
    add_repo,
    drop_move,
    finish_move,
    has_repo,
    remove_repo,
    start_move,
    unfinished_moves,
)
from hub_sync.schema import VERSION
from hub_sync.spaces import Spaces
from hub_sync.sweeping import sweep

MARK = "hub.sqlite3"
OPEN_REPOS = 256  # what is remembered of so many repos makes looking at them quick


class Store:
    """One folder. Made where there is none."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with writing(root):
            _make(root)
            (root / "repos").mkdir(exist_ok=True)
        self.database = Database(root / MARK)
        self.blobs = BlobStore(root / "blobs")
        self.discussions, self.repos = Discussions(self.database), Repos(self.database)
        self.spaces = Spaces(self.database, root / "xet")
        self.reach = Reach(self.git)
        self._gits: OrderedDict[str, GitRepo] = OrderedDict()
        self._opening = threading.Lock()
        self._bring_up_to_date()

    def git(self, key: str) -> GitRepo:
        """The git repository of a repo. Raises NotOnHub where there is none (any more)."""
        if not (self._folder(key) / "HEAD").exists():
            self._forget(key)
            raise NotOnHub(f"{self.root}: no repo {key}")
        with self._opening:
            if key not in self._gits:
                self._gits[key] = GitRepo(self._folder(key))
            self._gits.move_to_end(key)
            if len(self._gits) > OPEN_REPOS:
                self._gits.popitem(last=False)
            return self._gits[key]

    def free_number(self, db: sqlite3.Connection, key: str) -> int:
        """For the next discussion of a repo.

        A ref without a discussion is a pull request whose author was killed: its number is lost.
        """
        burnt = (int(number) for number in self.git(key).refs("refs/pr/"))
        return max(highest_number(db, key), *burnt, 0) + 1

    def create(self, row: RepoRow, *, files: Mapping[str, bytes], author: str) -> bool:
        """A new repo with a first commit; False where there is one."""
        with self.database.exclusive() as db, writing(self.root):
            self.finish_moves(db)
            if has_repo(db, row.key):
                return False
            git = self.begin(db, row.key)
            tree = {path: git.add(data) for path, data in files.items()}
            first = git.commit(tree, parents=[], message="initial commit", author=author)
            git.move(MAIN, old=None, new=first)
            add_repo(db, row)
        return True

    def begin(self, db: sqlite3.Connection, key: str) -> GitRepo:
        """The git repository of a repo whose row is there or comes next, for the holder of the lock.

        It is empty where there is no row: what a crash or a deletion left in its place is somebody else's.
        """
        self.finish_moves(db)
        if not has_repo(db, key):
            self.doom(key)
            GitRepo.make(self._folder(key))
        return self.git(key)

    def move(self, old: str, new: str) -> bool:
        """Rename a repo, so that the old name leads to the new one; False where there is one of that name."""
        with self.database.exclusive() as db:
            self.finish_moves(db)
            if has_repo(db, new) and old.lower() != new.lower():
                return False
            start_move(db, old, new)
        with self.database.exclusive() as db, writing(self.root):
            self.finish_moves(db)
            return not has_repo(db, old) or old.lower() == new.lower()

    def delete(self, key: str) -> None:
        """Delete a repo for good, and the blobs that only it had."""
        with self.database.exclusive() as db:
            had = self._held(key)
            remove_repo(db, key)
        with self.database.exclusive() as db, writing(self.root):  # a kill before this leaves it to the sweep
            if not has_repo(db, key):
                self.doom(key)
            self.collect(db, had)
        self.clear_doomed()

    def doom(self, key: str) -> None:
        """Take the folder of a repo out of its place, for the holder of the lock."""
        self._forget(key)
        if self._folder(key).exists():
            # Not among the repos: there it might be somebody's namespace.
            doomed = self.root / "doomed" / uuid.uuid4().hex
            doomed.parent.mkdir(exist_ok=True)
            self._folder(key).rename(doomed)

    def clear_doomed(self) -> None:
        """Free what was taken out of its place. Nobody has to wait for it."""
        for path in (self.root / "doomed").glob("*"):
            shutil.rmtree(path, ignore_errors=True)

    def collect(
        self, db: sqlite3.Connection, candidates: AbstractSet[str], *, even_in: str | None = None
    ) -> None:
        """Free those of these blobs that no ref of any repo reaches, for the holder of the lock.

        In the repo `even_in` what points at them stays and leads nowhere.
        """
        left = set(candidates) - {row["sha256"] for row in db.execute("SELECT sha256 FROM uploads")}
        keys = [row["key"] for row in db.execute("SELECT key FROM repos") if row["key"] != even_in]
        for key in keys:
            if left:
                left -= self._held(key)
        for sha256 in left:
            self.blobs.remove(sha256)

    def drop(self, db: sqlite3.Connection, key: str, ref: str) -> Revision | None:
        """Delete a ref, and the blobs that nothing else reaches, for the holder of the lock.

        What the ref named; None where it was gone.
        """
        git = self.git(key)
        if head := git.ref(ref):
            held = self.reach.of_heads(key, [head])
            git.drop(ref)
            self.collect(db, held)
        return head

    def sweep(self) -> None:
        """Free what was uploaded and never committed, and what a crash left behind."""
        sweep(self)

    def finish_moves(self, db: sqlite3.Connection) -> None:
        """Do what a crash, or somebody who waits for the lock, has only announced. For its holder."""
        for old, new in unfinished_moves(db):
            taken = old.lower() != new.lower() and has_repo(db, new)
            if taken or not has_repo(db, old):
                drop_move(db, old)
            else:
                self._rename(old, new)
                finish_move(db, old, new)

    def _rename(self, old: str, new: str) -> None:
        source, target = self._folder(old), self._folder(new)
        if source.exists():
            if target.exists() and not target.samefile(source):
                self.doom(new)
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
        self._forget(old)
        self._forget(new)

    def _held(self, key: str) -> set[str]:
        return self.reach.of_repo(key) if self._folder(key).exists() else set()

    def _forget(self, key: str) -> None:
        with self._opening:
            self._gits.pop(key, None)

    def _folder(self, key: str) -> Path:
        return self.root / "repos" / f"{key}.git"

    def _bring_up_to_date(self) -> None:
        with self.database.connection() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            moves = unfinished_moves(db)
        if version > VERSION:
            raise StorageError(f"{self.root} was made by a newer coldfusion: upgrade, or take another folder")
        if version == VERSION and not moves:
            return
        with self.database.exclusive() as db, writing(self.root):
            if version < VERSION:  # repos of a store from before there was a table of them
                for head in (self.root / "repos").glob("*/*.git/HEAD"):
                    key = str(head.parent.relative_to(self.root / "repos")).removesuffix(".git")
                    add_repo(db, RepoRow(key=key))
                db.execute(f"PRAGMA user_version = {VERSION}")
            self.finish_moves(db)


def _make(root: Path) -> None:
    """A new store is for its owner: private repos and the hashes of tokens lie in it as plain files."""
    root.mkdir(parents=True, exist_ok=True)
    if not any(root.iterdir()):
        root.chmod(0o700)
