"""The Hub protocol: the dozen verbs that the method needs. Every read names its revision."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from coldfusion.errors import writing
from coldfusion.records import Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class PathInfo:
    """One file of one revision."""

    path: str
    size: int  # bytes
    digest: str  # equal digests, equal contents: sha256 of a large file, git blob id of a small one


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An open pull request, with the head that it had when it was listed."""

    number: int
    title: str
    author: str
    revision: Revision


class Hub(Protocol):
    """A versioned store of bases and contributions.

    Revisions are full-length and immutable. Every verb raises HubUnavailable where trying again later may
    help and NotOnHub where the thing named is not there; `commit` and `propose` are all or nothing.
    """

    @property
    def author(self) -> str:
        """The account that we act as."""

    @property
    def address(self) -> str:
        """What a person calls this repo."""

    def head(self) -> Revision:
        """The revision of `main`. NotOnHub where nothing was published yet."""

    def resolve(self, name: str) -> Revision:
        """The revision that a tag, a branch or refs/pr/N names."""

    def published(self, at: Revision) -> datetime:
        """When a revision was made, by the Hub's clock."""

    def paths(self, prefix: str = "", *, at: Revision) -> list[PathInfo]:
        """The files below `prefix`, by path."""

    def fetch(self, path: str, *, at: Revision) -> Path:
        """A local file with the contents; to be read, never written."""

    def commit(
        self,
        files: Mapping[str, Path],
        *,
        message: str,
        parent: Revision | None,
        removed: Collection[str] = (),
    ) -> Revision:
        """Put `files` (path on the Hub -> local file) onto main in one commit; other files stay.

        removed: paths that the new revision does not have any more; those before it keep them. NotOnHub where
        one is not there. StaleParent unless main's head is still `parent` (None: the repo is still empty).
        """

    def tag(self, name: str, *, at: Revision) -> None:
        """Name a revision for good. Naming it so again changes nothing; moving a tag is refused."""

    def propose(self, files: Mapping[str, Path], *, title: str, message: str, parent: Revision) -> Proposal:
        """Open a pull request with one commit on top of `parent`."""

    def proposals(self) -> list[Proposal]:
        """The open pull requests, by number. Drafts are not submitted yet and not listed."""

    def settle(self, proposal: int, *, comment: str) -> None:
        """Comment on a pull request and close it. One that is closed already stays as it is."""

    def settled(self) -> list[int]:
        """The closed pull requests whose files are still kept, by number."""

    def forget(self, proposal: int) -> None:
        """Delete the ref of a closed pull request and the files that nothing else holds. Gone stays gone."""


def materialise(hub: Hub, at: Revision, into: Path, *, copy: bool = False) -> Path:
    """Lay out the files of a revision as a checkpoint directory.

    Without the history of the rounds, and what is there for contributors to check their data against.

    Without `copy`, files are hard links where the file system allows: treat the directory as read-only.
    """
    with writing(into):
        for info in hub.paths(at=at):
            if not info.path.startswith(("rounds/", "contributions/", "heldout/")):
                target = into / info.path
                target.parent.mkdir(parents=True, exist_ok=True)
                _lay(hub.fetch(info.path, at=at), target, copy=copy)
    return into


def _lay(source: Path, target: Path, *, copy: bool) -> None:
    target.unlink(missing_ok=True)
    if not copy:
        try:
            target.hardlink_to(source)
            return
        except OSError:
            pass  # another file system: copy
    shutil.copyfile(source, target)
