"""A bare git repository through dulwich: trees, commits, refs; large files as Git LFS pointers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from dulwich.file import FileLocked
from dulwich.index import commit_tree
from dulwich.object_store import iter_tree_contents
from dulwich.objects import Blob, Commit, ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from coldfusion.errors import HubError, NotOnHub
from coldfusion.records import Revision, is_revision

T = TypeVar("T")
MAIN = "refs/heads/main"
_LFS_VERSION = b"version https://git-lfs.github.com/spec/v1\n"
_FILE_MODE = 0o100644


@dataclass(frozen=True, slots=True)
class Pointer:
    """What git holds in place of a large file."""

    sha256: str
    size: int

    def encode(self) -> bytes:
        return _LFS_VERSION + f"oid sha256:{self.sha256}\nsize {self.size}\n".encode()

    @staticmethod
    def decode(data: bytes) -> Pointer | None:
        """The pointer that `data` is, or None where it is an ordinary file."""
        lines = data.removeprefix(_LFS_VERSION).decode("ascii", "replace").split("\n")
        if not data.startswith(_LFS_VERSION) or len(lines) != 3:
            return None
        return Pointer(lines[0].removeprefix("oid sha256:"), int(lines[1].removeprefix("size ")))


class GitRepo:
    """One bare repository. Reading needs no lock; writing is for whoever holds the store's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / "HEAD").exists():
            path.mkdir(parents=True, exist_ok=True)
            Repo.init_bare(str(path), default_branch=b"main").close()
        self._repo = Repo(str(path))
        self.blob = lru_cache(maxsize=4096)(self._read_blob)

    def ref(self, name: str) -> Revision | None:
        """The commit that a full ref name (refs/...) points at."""
        found = self._repo.refs.read_loose_ref(Ref(name.encode()))
        return Revision(found.decode()) if found else None

    def refs(self, prefix: str) -> Iterator[str]:
        """The names below a prefix, without it."""
        yield from (name.decode() for name in self._repo.refs.subkeys(Ref(prefix.encode())))

    def move(self, name: str, *, old: Revision | None, new: Revision) -> bool:
        """Point a ref at `new` if it is still at `old` (None: not there). The caller holds the lock."""
        ref, target = Ref(name.encode()), ObjectID(new.encode())
        if old is None:
            return _breaking_locks(lambda: self._repo.refs.add_if_new(ref, target))
        expected = ObjectID(old.encode())
        return _breaking_locks(lambda: self._repo.refs.set_if_equals(ref, expected, target))

    def has(self, revision: str) -> bool:
        """Whether a commit is there."""
        return (
            is_revision(revision)
            and ObjectID(revision.encode()) in self._repo.object_store
            and isinstance(self._repo[ObjectID(revision.encode())], Commit)
        )

    def files(self, revision: Revision) -> dict[str, ObjectID]:
        """path -> git blob id of every file of a commit. Raises NotOnHub."""
        if not self.has(revision):
            raise NotOnHub(f"no revision {revision!r}; full 40-digit revisions only")
        commit = self._repo[ObjectID(revision.encode())]
        assert isinstance(commit, Commit)
        contents = iter_tree_contents(self._repo.object_store, commit.tree)
        return {entry.path.decode(): entry.sha for entry in contents if entry.path and entry.sha}

    def commit(
        self, files: Mapping[str, bytes], *, parent: Revision | None, message: str, author: str
    ) -> Revision:
        """A new commit: the parent's files with `files` laid over them. No ref moves.

        The caller holds the lock.
        """
        tree = self.files(parent) if parent else {}
        for path, data in files.items():
            check_path(path)
            tree[path] = self._add(Blob.from_string(data))
        store, entries = self._repo.object_store, [(p.encode(), sha, _FILE_MODE) for p, sha in tree.items()]
        commit = Commit()
        commit.tree = _breaking_locks(lambda: commit_tree(store, entries))
        commit.parents = [ObjectID(parent.encode())] if parent else []
        commit.author = commit.committer = f"{author} <{author}@local>".encode()
        commit.author_time = commit.commit_time = int(time.time())
        commit.author_timezone = commit.commit_timezone = 0
        commit.encoding, commit.message = b"UTF-8", f"{message}\n".encode()
        return Revision(self._add(commit).decode())

    def _add(self, thing: Blob | Commit) -> ObjectID:
        _breaking_locks(lambda: self._repo.object_store.add_object(thing))
        return thing.id

    def _read_blob(self, sha: ObjectID) -> bytes:
        blob = self._repo[sha]
        assert isinstance(blob, Blob)
        return blob.data


def _breaking_locks(operation: Callable[[], T]) -> T:
    """Do what dulwich guards with lock files, under the store's own lock.

    A process that died in here left its lock file, which would block everybody for good; while we hold the
    store's lock, nobody else can be inside.
    """
    while True:
        try:
            return operation()
        except FileLocked as exc:
            os.unlink(exc.lockfilename)


def check_path(path: str) -> None:
    """Refuse a path that could leave the repository or hide in it. Raises HubError."""
    parts = path.split("/")
    if not path or "\\" in path or any(part in ("", ".", "..", ".git") for part in parts) or "\0" in path:
        raise HubError(f"path {path!r} cannot be on the Hub")
