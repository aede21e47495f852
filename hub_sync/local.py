"""The local store: a folder that follows the Hub's rules, so that a federation on it is one on the Hub.

Layout: repos/<namespace>/<name>.git (bare git: refs, small files, LFS pointers), blobs/ (large files by
sha256), hub.sqlite3 (pull requests), cache/ (small files as files). Any number of processes may use one
store at once.

The order of writing makes every verb all or nothing: blobs first, then git objects, and the ref last, under
the store's lock. A process killed before that leaves unreachable objects and nothing else.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from coldfusion.errors import HubError, NotOnHub, StaleParent, writing
from coldfusion.hub import PathInfo, Proposal
from coldfusion.records import Revision
from hub_sync.blobs import BlobStore
from hub_sync.discussions import Discussions, add_pull_request, close_with_comment, highest_number
from hub_sync.gitrepo import MAIN, GitRepo, Pointer, check_path

REPO_ID = "local/federation"
SMALL = 1 << 20  # bytes; a larger file, or one of a binary kind, is kept as a blob
BINARY = (".safetensors", ".bin", ".pt", ".npz", ".parquet", ".arrow", ".onnx", ".png")
ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in BINARY)
""".gitattributes of every repo, as the Hub writes it: stock git with LFS finds the large files by it."""


class LocalHub:
    """One repo of a local store; implements `coldfusion.hub.Hub`."""

    def __init__(self, root: Path, *, repo_id: str = REPO_ID, author: str = "local") -> None:
        check_path(repo_id)
        self.root, self.repo_id, self.author = root, repo_id, author
        with writing(root):
            self._git = GitRepo(root / "repos" / f"{repo_id}.git")
        self._blobs = BlobStore(root / "blobs")
        self.discussions = Discussions(root / "hub.sqlite3")

    def head(self) -> Revision:
        return self.resolve("main")

    def resolve(self, name: str) -> Revision:
        for ref in (f"refs/tags/{name}", f"refs/heads/{name}", name if name.startswith("refs/") else None):
            if ref and (found := self._git.ref(ref)):
                return found
        raise NotOnHub(f"{self.root}: no tag, branch or ref {name!r}")

    def paths(self, prefix: str = "", *, at: Revision) -> list[PathInfo]:
        found = []
        for path, sha in sorted(self._git.files(at).items()):
            if path.startswith(prefix):
                data = self._git.blob(sha)
                pointer = Pointer.decode(data)
                size, digest = (pointer.size, pointer.sha256) if pointer else (len(data), sha.decode())
                found.append(PathInfo(path=path, size=size, digest=digest))
        return found

    def fetch(self, path: str, *, at: Revision) -> Path:
        sha = self._git.files(at).get(path)
        if sha is None:
            raise NotOnHub(f"{self.root}: no {path!r} at {at[:12]}")
        data = self._git.blob(sha)
        if pointer := Pointer.decode(data):
            return self._blobs.path(pointer.sha256)
        return self._as_file(sha.decode(), data)

    def commit(self, files: Mapping[str, Path], *, message: str, parent: Revision | None) -> Revision:
        contents = self._contents(files, is_first=parent is None)
        with self.discussions.exclusive(), writing(self.root):
            new = self._git.commit(contents, parent=parent, message=message, author=self.author)
            if not self._git.move(MAIN, old=parent, new=new):
                raise StaleParent(f"{self.root}: main is not at {parent and parent[:12]} any more")
        return new

    def tag(self, name: str, *, at: Revision) -> None:
        check_path(name)
        if not self._git.has(at):
            raise NotOnHub(f"{self.root}: no revision {at!r}")
        with self.discussions.exclusive():
            ref = f"refs/tags/{name}"
            if (already := self._git.ref(ref)) not in (None, at):
                raise HubError(f"{self.root}: tag {name} is on {already} and stays there")
            if already is None:
                self._git.move(ref, old=None, new=at)

    def propose(self, files: Mapping[str, Path], *, title: str, message: str, parent: Revision) -> Proposal:
        contents = self._contents(files, is_first=False)
        with self.discussions.exclusive() as db, writing(self.root):
            # A ref without a discussion is a pull request whose author was killed: its number is lost.
            burnt = (int(number) for number in self._git.refs("refs/pr/"))
            number = max(highest_number(db, self.repo_id), *burnt, 0) + 1
            new = self._git.commit(contents, parent=parent, message=message, author=self.author)
            self._git.move(f"refs/pr/{number}", old=None, new=new)
            add_pull_request(db, self.repo_id, number, title, self.author)
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
        with self.discussions.exclusive() as db:
            if self.discussions.status(self.repo_id, proposal) == "open":
                close_with_comment(db, self.repo_id, proposal, self.author, comment)

    def _contents(self, files: Mapping[str, Path], *, is_first: bool) -> dict[str, bytes]:
        """What git will hold for each file: itself, or the pointer to the blob that it is stored as here."""
        contents = {".gitattributes": ATTRIBUTES.encode()} if is_first else {}
        for path, source in files.items():
            check_path(path)
            if source.stat().st_size > SMALL or path.endswith(BINARY):
                contents[path] = Pointer(*self._blobs.put(source)).encode()
            else:
                contents[path] = source.read_bytes()
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
