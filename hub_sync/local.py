"""The local store in process: a folder that follows the Hub's rules.

A federation on it is one on the Hub.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

from coldfusion.errors import HubError, NotOnHub, StaleParent, writing
from coldfusion.hub import PathInfo, Proposal
from coldfusion.records import Revision
from hub_sync.attributes import ATTRIBUTES, BY_DEFAULT
from hub_sync.discussions import Discussion, add_discussion, close_with_comment
from hub_sync.gitrepo import MAIN, GitRepo, check_path
from hub_sync.pointers import Pointer
from hub_sync.repos import RepoRow, add_repo
from hub_sync.store import Store

REPO_ID = "local/federation"


class LocalHub:
    """One repo of a local store; implements `coldfusion.hub.Hub`."""

    def __init__(self, root: Path, *, repo_id: str = REPO_ID, author: str = "local") -> None:
        check_path(repo_id)
        self.root, self.repo_id, self.author = root, repo_id, author
        self.store = Store(root)
        self.discussions = self.store.discussions

    @property
    def _git(self) -> GitRepo:
        """Raises NotOnHub where nothing was published yet."""
        return self.store.git(self.repo_id)

    @property
    def address(self) -> str:
        return str(self.root)

    def head(self) -> Revision:
        return self.resolve("main")

    def resolve(self, name: str) -> Revision:
        for ref in (f"refs/tags/{name}", f"refs/heads/{name}", name if name.startswith("refs/") else None):
            if ref and (found := self._git.ref(ref)):
                return found
        raise NotOnHub(f"{self.root}: no tag, branch or ref {name!r}")

    def published(self, at: Revision) -> datetime:
        return datetime.fromtimestamp(self._git.facts(at).time, UTC)

    def paths(self, prefix: str = "", *, at: Revision) -> list[PathInfo]:
        found = []
        for path, sha in self._git.files(at).items():
            if path.startswith(prefix):
                size, pointer = self._git.described(sha)
                found.append(
                    PathInfo(path=path, size=size, digest=pointer.sha256 if pointer else sha.decode())
                )
        return found

    def fetch(self, path: str, *, at: Revision) -> Path:
        sha = self._git.files(at).get(path)
        if sha is None:
            raise NotOnHub(f"{self.root}: no {path!r} at {at[:12]}")
        _, pointer = self._git.described(sha)
        if pointer:
            return self.store.blobs.path(pointer.sha256)
        return self._as_file(sha.decode(), self._git.blob(sha))

    def commit(
        self,
        files: Mapping[str, Path],
        *,
        message: str,
        parent: Revision | None,
        removed: Collection[str] = (),
    ) -> Revision:
        contents = self._contents(files, is_first=parent is None)
        with self.store.database.exclusive() as db, writing(self.root):
            if parent is None:
                self.store.begin(db, self.repo_id)
            new = self._add(contents, parent=parent, message=message, removed=removed)
            add_repo(db, RepoRow(key=self.repo_id))
            if not self._git.move(MAIN, old=parent, new=new):
                raise StaleParent(f"{self.root}: main is not at {parent and parent[:12]} any more")
        return new

    def tag(self, name: str, *, at: Revision) -> None:
        check_path(name)
        if not self._git.has(at):
            raise NotOnHub(f"{self.root}: no revision {at!r}")
        with self.store.database.exclusive():
            ref = f"refs/tags/{name}"
            if (already := self._git.ref(ref)) not in (None, at):
                raise HubError(f"{self.root}: tag {name} is on {already} and stays there")
            if already is None:
                self._git.move(ref, old=None, new=at)

    def propose(self, files: Mapping[str, Path], *, title: str, message: str, parent: Revision) -> Proposal:
        contents = self._contents(files, is_first=False)
        with self.store.database.exclusive() as db, writing(self.root):
            number = self.store.free_number(db, self.repo_id)
            new = self._add(contents, parent=parent, message=message)
            self._git.move(f"refs/pr/{number}", old=None, new=new)
            facts = {"repo": self.repo_id, "number": number, "title": title, "author": self.author}
            opened = {"status": "open", "is_pull_request": True, "created_at": time.time(), "base": MAIN}
            add_discussion(db, Discussion(**facts, **opened))  # type: ignore[arg-type]
        return Proposal(number=number, title=title, author=self.author, revision=new)

    def proposals(self) -> list[Proposal]:
        return [
            Proposal(
                number=found.number,
                title=found.title,
                author=found.author,
                revision=self.resolve(f"refs/pr/{found.number}"),
            )
            for found in self.discussions.open_pull_requests(self.repo_id)
        ]

    def settle(self, proposal: int, *, comment: str) -> None:
        with self.store.database.exclusive() as db:
            about = self.discussions.get(self.repo_id, proposal)
            if about.status == "open":
                close_with_comment(db, about, author=self.author, comment=comment)

    def _add(
        self,
        contents: Mapping[str, bytes],
        *,
        parent: Revision | None,
        message: str,
        removed: Collection[str] = (),
    ) -> Revision:
        """A commit of the parent's files without those `removed`, and with these laid over them."""
        tree = self._git.files(parent) if parent else {}
        if missing := sorted(set(removed) - tree.keys()):
            raise NotOnHub(f"{self.root}: no {missing[0]!r} to remove")
        for path in removed:
            del tree[path]
        for path, data in contents.items():
            tree[path] = self._git.add(data)
        parents = [parent] if parent else []
        return self._git.commit(tree, parents=parents, message=message, author=self.author)

    def settled(self) -> list[int]:
        still_open = {found.number for found in self.discussions.open_pull_requests(self.repo_id)}
        return sorted({int(number) for number in self._git.refs("refs/pr/")} - still_open)

    def forget(self, proposal: int) -> None:
        with self.store.database.exclusive() as db, writing(self.root):
            if self.discussions.get(self.repo_id, proposal).status == "open":
                raise HubError(f"{self.root}: pull request #{proposal} is open; settle it first")
            self.store.drop(db, self.repo_id, f"refs/pr/{proposal}")

    def _contents(self, files: Mapping[str, Path], *, is_first: bool) -> dict[str, bytes]:
        """What git will hold for each file: itself, or the pointer to the blob that it is stored as here."""
        contents = {".gitattributes": ATTRIBUTES.encode()} if is_first else {}
        for path, source in files.items():
            check_path(path)
            data = None if BY_DEFAULT.has(path, source.stat().st_size) else source.read_bytes()
            if data is None or Pointer.decode(
                data
            ):  # a file that looks like a pointer would be taken for one
                contents[path] = Pointer(*self.store.blobs.put(source)).encode()
            else:
                contents[path] = data
        return contents

    def _as_file(self, name: str, data: bytes) -> Path:
        target = self.root / "cache" / name[:2] / name
        if not target.exists():
            with writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                handle, partial = tempfile.mkstemp(dir=target.parent)
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                os.chmod(partial, 0o444)
                os.replace(partial, target)
        return target
