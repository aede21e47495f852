"""A repo on the Hugging Face Hub, or on any server that speaks its protocol, behind our verbs."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_url
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import get_session, hf_raise_for_status

from coldfusion.errors import HubError, NotOnHub, StaleParent
from coldfusion.hub import PathInfo, Proposal
from coldfusion.records import Revision, is_revision
from hub_sync.gitrepo import check_path
from hub_sync.huggingface.asking import Asker
from hub_sync.huggingface.failures import translating
from hub_sync.huggingface.session import use_session
from hub_sync.pacing import Pacer
from hub_sync.ranges import Fetched, Pieces, RangedFile
from hub_sync.retrying import Patience

T = TypeVar("T")
Operation = CommitOperationAdd | CommitOperationDelete
KEPT = {"open": {"open"}, "all": {"open", "closed", "merged"}}
CREATED = {".gitattributes"}
"""What a repo holds that was created and never published to."""


@dataclass(frozen=True)
class HuggingFaceHub:
    """One model repo; implements `coldfusion.hub.Hub`.

    endpoint None: $HF_ENDPOINT, else https://huggingface.co.
    token None: $HF_TOKEN, else that of `hf auth login`.
    """

    repo_id: str
    endpoint: str | None = None
    token: str | None = None
    private: bool = False  # if `commit` has to create the repo
    cache: Path | None = None  # where what is fetched is kept; None: the client's own cache, for good
    timeout: float = 60.0  # seconds without a byte, after which a call has failed
    patience: Patience = field(default_factory=Patience)
    pacer: Pacer = field(default_factory=Pacer)

    def __post_init__(self) -> None:
        use_session(self.pacer, timeout=self.timeout)

    @cached_property
    def api(self) -> HfApi:
        return HfApi(endpoint=self.endpoint, token=self.token)

    @cached_property
    def author(self) -> str:
        """The account that the token belongs to. Raises NoAccess where there is none."""
        return str(self._read("asking who we are", lambda: self.api.whoami()["name"]))

    @property
    def address(self) -> str:
        return f"{self.api.endpoint}/{self.repo_id}"

    def head(self) -> Revision:
        info = self._read("reading main", lambda: self.api.model_info(self.repo_id, revision="main"))
        if {file.rfilename for file in info.siblings or []} <= CREATED:
            raise NotOnHub(f"{self.address}: nothing was published yet")
        return Revision(str(info.sha))

    def resolve(self, name: str) -> Revision:
        info = self._read(f"reading {name}", lambda: self.api.model_info(self.repo_id, revision=name))
        return Revision(str(info.sha))

    def published(self, at: Revision) -> datetime:
        self._check(at)
        newest = self._read(f"reading the history of {at[:12]}", lambda: self._commits(at))
        return datetime.fromisoformat(str(newest[0]["date"]))

    def paths(self, prefix: str = "", *, at: Revision) -> list[PathInfo]:
        def call() -> list[PathInfo]:
            tree = self.api.list_repo_tree(self.repo_id, recursive=True, revision=at)
            return [_path_info(entry) for entry in tree if isinstance(entry, RepoFile)]

        self._check(at)
        found = self._read(f"listing {at[:12]}", call)
        return sorted((info for info in found if info.path.startswith(prefix)), key=lambda info: info.path)

    def fetch(self, path: str, *, at: Revision) -> Path:
        self._check(at)
        found = self._read(
            f"fetching {path}",
            lambda: self.api.hf_hub_download(
                self.repo_id, path, revision=at, etag_timeout=self.timeout, cache_dir=self.cache
            ),
        )
        return Path(found).resolve()  # the cache holds symbolic links

    def open(self, path: str, *, at: Revision, pieces: Pieces) -> RangedFile:
        """A file that is read by range where it is. pieces: what keeps those that were read."""
        self._check(at)
        url = hf_hub_url(self.repo_id, path, revision=at, endpoint=self.api.endpoint)
        asker = Asker(url, build_hf_headers(token=self.token))

        def fetch(start: int, stop: int) -> Fetched:
            return self._read(f"reading {path}", lambda: asker.fetch(start, stop))

        return RangedFile(f"{self.address}@{at[:12]}/{path}", fetch, pieces)

    def top(self, *, at: Revision) -> list[PathInfo]:
        """The files of a revision that are in no folder: those of a model."""

        def call() -> list[PathInfo]:
            tree = self.api.list_repo_tree(self.repo_id, revision=at)
            return [_path_info(entry) for entry in tree if isinstance(entry, RepoFile)]

        return self._read(f"listing {at[:12]}", call)

    def commit(
        self,
        files: Mapping[str, Path],
        *,
        message: str,
        parent: Revision | None,
        removed: Collection[str] = (),
    ) -> Revision:
        base = self._created() if parent is None else parent
        mark = f"coldfusion commit {uuid.uuid4().hex}"  # tells ours from another coordinator's

        def call() -> Revision:
            operations: list[Operation] = [*_additions(files), *_removals(removed)]
            return Revision(self._send(operations, title=message, text=mark, parent=base).oid)

        def landed() -> Revision | None:
            newest = self._commits("main")
            return next((Revision(c["id"]) for c in newest if mark in c.get("message", "")), None)

        stale = StaleParent(f"{self.address}: somebody else published these files first")
        try:
            self._write("committing to main", call, landed)
        except StaleParent as exc:
            stale = exc
        # Whether it was ours is what main says: an earlier try of ours may have moved it, and where another
        # coordinator published the very same files the client commits nothing and answers with their commit.
        if found := self._read("reading main", landed):
            return found
        raise stale

    def tag(self, name: str, *, at: Revision) -> None:
        def call() -> None:
            self.api.create_tag(self.repo_id, tag=name, revision=at, exist_ok=True)

        def tagged() -> Revision | None:
            tags = self.api.list_repo_refs(self.repo_id).tags
            return next((Revision(tag.target_commit) for tag in tags if tag.name == name), None)

        self._read(f"tagging {name}", call)
        if (already := self._read(f"reading tag {name}", tagged)) != at:
            raise HubError(f"{self.address}: tag {name} is on {already} and stays there")

    def propose(self, files: Mapping[str, Path], *, title: str, message: str, parent: Revision) -> Proposal:
        author = self.author

        def call() -> Proposal:
            info = self._send(_additions(files), title=title, text=message, parent=parent, create_pr=True)
            if info.pr_num is None:
                raise HubError(f"{self.address}: opening a pull request: the Hub answered without its number")
            return Proposal(number=info.pr_num, title=title, author=author, revision=Revision(info.oid))

        def landed() -> Proposal | None:
            # Whatever its status: the coordinator may have fused and closed it before we ask.
            return next((p for p in self._proposals("all", author) if p.title == title), None)

        return self._write("opening a pull request", call, landed)

    def proposals(self) -> list[Proposal]:
        return self._read("listing pull requests", lambda: self._proposals("open"))

    def settle(self, proposal: int, *, comment: str) -> None:
        def call() -> bool:
            self.api.change_discussion_status(self.repo_id, proposal, "closed", comment=comment)
            return True

        def closed() -> bool | None:
            return self.api.get_discussion_details(self.repo_id, proposal).status != "open" or None

        if not self._read(f"reading pull request #{proposal}", closed):
            self._write(f"closing pull request #{proposal}", call, closed)

    def settled(self) -> list[int]:
        still_open = {proposal.number for proposal in self.proposals()}
        return sorted(self._read("listing refs", self._heads).keys() - still_open)

    def forget(self, proposal: int) -> None:
        def call() -> None:
            url = f"{self.api.endpoint}/api/models/{self.repo_id}/discussions/{proposal}/ref"
            answer = get_session().delete(url, headers=build_hf_headers(token=self.token))
            if answer.status_code != 404:  # gone already
                hf_raise_for_status(answer)

        self._read(f"deleting refs/pr/{proposal}", call)

    def _send(
        self, operations: Sequence[Operation], *, title: str, text: str, parent: str, create_pr: bool = False
    ) -> CommitInfo:
        return self.api.create_commit(
            self.repo_id,
            operations,
            commit_message=title,
            commit_description=text,
            parent_commit=parent,
            create_pr=create_pr,
        )

    def _check(self, at: Revision) -> None:
        """A read that names a branch or a tag would not be pinned."""
        if not is_revision(at):
            raise NotOnHub(f"{self.address}: no revision {at!r}; full 40-digit revisions only")

    def _proposals(self, status: Literal["open", "all"], author: str | None = None) -> list[Proposal]:
        """The pull requests whose files are kept, by number. The Hub counts drafts as open; we do not."""
        listed = self.api.get_repo_discussions(
            self.repo_id, author=author, discussion_type="pull_request", discussion_status=status
        )
        # By number: pages count from the newest, so one comes twice where another is opened meanwhile.
        found = {d.num: d for d in listed if d.status in KEPT[status]}
        heads = self._heads()  # after the list: whatever is in the list has a head by now
        return [
            Proposal(number=number, title=d.title, author=d.author, revision=heads[number])
            for number, d in sorted(found.items())
            if number in heads
        ]

    def _heads(self) -> dict[int, Revision]:
        """Pull request -> head, in one call however many there are."""
        refs = self.api.list_repo_refs(self.repo_id, include_pull_requests=True).pull_requests or []
        return {int(ref.ref.rsplit("/", 1)[1]): Revision(ref.target_commit) for ref in refs}

    def _commits(self, revision: str) -> list[dict[str, Any]]:
        """The newest commits of a revision, newest first: one page."""
        url = f"{self.api.endpoint}/api/models/{self.repo_id}/commits/{revision}"
        answer = get_session().get(url, headers=build_hf_headers(token=self.token))
        hf_raise_for_status(answer)
        return list(answer.json())

    def _created(self) -> Revision:
        """The first revision of a repo that nothing was published to; it is created where it is not there."""
        self._read(
            "creating the repo",
            lambda: self.api.create_repo(self.repo_id, private=self.private or None, exist_ok=True),
        )
        try:
            raise StaleParent(f"{self.address}: main is at {self.head()[:12]} already")
        except NotOnHub:
            return self.resolve("main")

    def _read(self, action: str, call: Callable[[], T]) -> T:
        return self.patience.read(self._translated(action, call))

    def _write(self, action: str, call: Callable[[], T], landed: Callable[[], T | None]) -> T:
        return self.patience.write(self._translated(action, call), self._translated(action, landed))

    def _translated(self, action: str, call: Callable[[], T]) -> Callable[[], T]:
        def inner() -> T:
            with translating(f"{self.address}: {action}"):
                return call()

        return inner


def _additions(files: Mapping[str, Path]) -> list[CommitOperationAdd]:
    """Made anew for every try: the client marks them as it goes. It mends bad paths; we refuse them."""
    for path in files:
        check_path(path)
    return [CommitOperationAdd(path_in_repo=path, path_or_fileobj=source) for path, source in files.items()]


def _removals(paths: Iterable[str]) -> list[CommitOperationDelete]:
    return [CommitOperationDelete(path_in_repo=path) for path in paths]


def _path_info(entry: RepoFile) -> PathInfo:
    size, digest = (entry.lfs.size, entry.lfs.sha256) if entry.lfs else (entry.size, entry.blob_id)
    return PathInfo(path=entry.path, size=size, digest=digest)
