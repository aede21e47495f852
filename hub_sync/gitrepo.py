"""A bare git repository through dulwich: trees, commits, refs; large files as Git LFS pointers."""

from __future__ import annotations

import heapq
import os
import re
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from dulwich.errors import NotGitRepository
from dulwich.file import FileLocked
from dulwich.objects import Blob, Commit, ObjectID, ShaFile, Tree
from dulwich.refs import Ref, check_ref_format
from dulwich.repo import Repo

from coldfusion.errors import HubError, NotOnHub
from coldfusion.records import Revision, is_revision
from hub_sync.pointers import Pointer

T = TypeVar("T")
MAIN = "refs/heads/main"
_PRINTED = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]+")  # and what UTF-8 can write
_FILE_MODE, _FOLDER_MODE = 0o100644, 0o040000
DEEPEST = 32  # parts of a path; every folder is an object of its own, in every commit that changes it


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a folder of one commit."""

    sha: ObjectID
    is_folder: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitFacts:
    """What a commit says about itself."""

    revision: Revision
    parents: tuple[Revision, ...]
    tree: ObjectID
    author: str
    time: int  # seconds since 1970
    message: str  # without the newline at its end

    @property
    def title(self) -> str:
        return self.message.split("\n", 1)[0]


class GitRepo:
    """One bare repository.

    Reading and adding objects need no lock; moving refs is for whoever holds the store's.
    """

    def __init__(self, path: Path) -> None:
        """Open what is there. Raises NotOnHub."""
        self.path = path
        try:
            self._repo = Repo(str(path))
        except NotGitRepository as exc:
            raise NotOnHub(f"no git repository at {path}") from exc
        self._turn = threading.Lock()  # dulwich reads packs through one shared file position
        self.facts = lru_cache(maxsize=4096)(self._read_facts)
        self.described = lru_cache(maxsize=1 << 14)(self._describe)
        self.entries = lru_cache(maxsize=16)(self._read_entries)
        self.folder = lru_cache(maxsize=1024)(self._read_folder)

    @classmethod
    def make(cls, path: Path) -> GitRepo:
        """A new, empty one."""
        path.mkdir(parents=True)
        Repo.init_bare(str(path), default_branch=b"main").close()
        return cls(path)

    # refs

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

    def drop(self, name: str) -> None:
        """Delete a ref. The caller holds the lock."""
        _breaking_locks(lambda: self._repo.refs.remove_if_equals(Ref(name.encode()), None))

    # reading

    def has(self, revision: str) -> bool:
        """Whether a commit is there."""
        if not is_revision(revision):
            return False
        try:
            self.facts(Revision(revision))
        except NotOnHub:
            return False
        return True

    def expand(self, start: str) -> Revision | None:
        """The one commit whose id starts so."""
        if is_revision(start):
            return Revision(start) if self.has(start) else None
        if not re.fullmatch("[0-9a-f]{4,39}", start):
            return None
        with self._turn:
            names = [Revision(sha.decode()) for sha in self._repo.object_store.iter_prefix(start.encode())]
        commits = [name for name in names if self.has(name)]
        return commits[0] if len(commits) == 1 else None

    def history(self, revision: Revision) -> Iterator[CommitFacts]:
        """A commit and all that it comes from, newest first, a child always before its parents."""
        waiting, seen = [(0, 0, self.facts(revision))], {revision}
        while waiting:
            *_, commit = heapq.heappop(waiting)
            yield commit
            for parent in commit.parents:
                if parent not in seen:
                    seen.add(parent)
                    facts = self.facts(parent)
                    heapq.heappush(waiting, (-facts.time, len(seen), facts))

    def files(self, revision: Revision) -> dict[str, ObjectID]:
        """path -> git blob id of every file of a commit. Raises NotOnHub."""
        return {path: entry.sha for path, entry in self.entries(revision).items() if not entry.is_folder}

    def blob(self, sha: ObjectID) -> bytes:
        """What is in a file."""
        blob = self._object(sha)
        assert isinstance(blob, Blob)
        return blob.data

    # writing

    def add(self, data: bytes) -> ObjectID:
        """Store what is in a file. It is nowhere to be seen before a commit holds it."""
        return self._add(Blob.from_string(data))

    def commit(
        self,
        tree: Mapping[str, ObjectID] | ObjectID,
        *,
        parents: Sequence[Revision],
        message: str,
        author: str,
        at: int | None = None,
    ) -> Revision:
        """A new commit that holds exactly these files, made now or `at` that second. No ref moves.

        tree: the files, or what `add_tree` made of them before there was a lock to hold.
        """
        commit = Commit()
        commit.tree = self.add_tree(tree) if isinstance(tree, Mapping) else tree
        commit.parents = [ObjectID(parent.encode()) for parent in parents]
        commit.author = commit.committer = f"{author} <{author}@local>".encode()
        commit.author_time = commit.commit_time = int(time.time()) if at is None else at
        commit.author_timezone = commit.commit_timezone = 0
        commit.encoding, commit.message = b"UTF-8", f"{message}\n".encode()
        return Revision(self._add(commit).decode())

    def add_tree(self, files: Mapping[str, ObjectID]) -> ObjectID:
        """Store the folders of these files, one object each; those that are there already cost little."""
        tree, folders = Tree(), dict[str, dict[str, ObjectID]]()
        for path, sha in files.items():
            name, _, rest = path.partition("/")
            if rest:
                folders.setdefault(name, {})[rest] = sha
            else:
                _check_part(name)
                tree.add(name.encode(), _FILE_MODE, sha)
        for name, inside in folders.items():
            _check_part(name)
            if name in files:
                raise HubError(f"path {name!r} is a file and a folder")
            tree.add(name.encode(), _FOLDER_MODE, self.add_tree(inside))
        return self._add(tree)

    def _add(self, thing: ShaFile) -> ObjectID:
        """Write a loose object: under a temporary name first, so that whoever sees it sees it whole."""
        name = thing.id.decode()
        target = self.path / "objects" / name[:2] / name[2:]
        with suppress(FileNotFoundError):
            os.utime(target)  # somebody is about to commit it: too young to be pruned
            return thing.id
        if thing.id not in self._repo.object_store:
            target.parent.mkdir(exist_ok=True)
            handle, partial = tempfile.mkstemp(dir=target.parent, prefix="tmp_obj_")
            with os.fdopen(handle, "wb") as file:
                file.write(thing.as_legacy_object())
                file.flush()
                os.fsync(file.fileno())
            os.chmod(partial, 0o444)
            os.replace(partial, target)
        return thing.id

    def _object(self, sha: ObjectID) -> ShaFile:
        with self._turn:
            try:
                return self._repo.object_store[sha]
            except KeyError as exc:
                raise NotOnHub(f"no object {sha.decode()} in {self.path}") from exc

    def _read_facts(self, revision: Revision) -> CommitFacts:
        commit = self._object(ObjectID(revision.encode())) if is_revision(revision) else None
        if not isinstance(commit, Commit):
            raise NotOnHub(f"no revision {revision!r}; full 40-digit revisions only")
        return CommitFacts(
            revision=revision,
            parents=tuple(Revision(parent.decode()) for parent in commit.parents),
            tree=commit.tree,
            author=commit.author.decode(errors="replace").split(" <")[0],
            time=commit.commit_time,
            message=commit.message.decode(errors="replace").removesuffix("\n"),
        )

    def _describe(self, sha: ObjectID) -> tuple[int, Pointer | None]:
        data = self.blob(sha)
        pointer = Pointer.decode(data)
        return (pointer.size if pointer else len(data)), pointer

    def _read_folder(self, sha: ObjectID) -> tuple[tuple[str, Entry], ...]:
        tree = self._object(sha)
        assert isinstance(tree, Tree)
        return tuple((e.path.decode(), Entry(e.sha, stat.S_ISDIR(e.mode))) for e in tree.iteritems())

    def _read_entries(self, revision: Revision) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        waiting = [("", self.facts(revision).tree)]
        while waiting:
            prefix, sha = waiting.pop()
            for name, entry in self.folder(sha):
                found[prefix + name] = entry
                if entry.is_folder:
                    waiting.append((f"{prefix}{name}/", entry.sha))
        return dict(sorted(found.items()))


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
    """Refuse a path that could leave its folder, also on Windows, or hide in it. Raises HubError."""
    parts = path.split("/")
    for part in parts:
        _check_part(part)
    if "\\" in path or len(path) > 1024 or len(parts) > DEEPEST:
        raise HubError(f"path {path!r} cannot be on the Hub")


def _check_part(part: str) -> None:
    if part in ("", ".", "..") or part.lower() == ".git" or not _PRINTED.fullmatch(part):
        raise HubError(f"path {part!r} cannot be on the Hub")


def is_ref_name(name: str) -> bool:
    """Whether a full ref name is one that git allows, and no path that leads elsewhere."""
    return name.isascii() and name.isprintable() and check_ref_format(Ref(name.encode()))
