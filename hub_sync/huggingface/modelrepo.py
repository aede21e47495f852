"""A model on a Hub as the place of a checkpoint: read where it is, at one revision, without being fetched."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from coldfusion.places import Bytes, contents
from coldfusion.records import Revision, is_revision
from hub_sync.huggingface.hub import HuggingFaceHub
from hub_sync.pacing import Pacer
from hub_sync.ranges import Pieces

_PACER = Pacer()  # of all models that this process reads: they share a session and a limit


@dataclass(frozen=True)
class ModelRepo:
    """A repo at a revision; implements `coldfusion.places.Place`.

    Whoever it is sent to reads with a token of their own, so that none travels.
    """

    repo_id: str
    endpoint: str
    revision: Revision
    _pieces: Pieces = field(default_factory=Pieces, compare=False, repr=False)

    @classmethod
    def find(cls, repo_id: str, revision: str, endpoint: str | None = None) -> ModelRepo:
        """What a branch, a tag or a revision is now. Raises NotOnHub, NoAccess or HubUnavailable."""
        hub = HuggingFaceHub(repo_id, endpoint=endpoint, pacer=_PACER)
        found = Revision(revision) if is_revision(revision) else hub.resolve(revision)
        return cls(repo_id, hub.api.endpoint, found)

    @property
    def address(self) -> str:
        return f"{self.endpoint}/{self.repo_id}@{self.revision[:12]}"

    def names(self) -> Collection[str]:
        return self._digests.keys()

    def open(self, name: str) -> Bytes:
        return self._hub.open(name, at=self.revision, pieces=self._pieces)

    def sha256(self, name: str) -> str:
        digest = self._digests[name]
        is_sha256 = len(digest) == 64  # a small file has a git blob id, of 40 digits
        return digest if is_sha256 else hashlib.sha256(contents(self, name)).hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        return ModelRepo, (self.repo_id, self.endpoint, self.revision)

    @cached_property
    def _hub(self) -> HuggingFaceHub:
        return HuggingFaceHub(self.repo_id, endpoint=self.endpoint, pacer=_PACER)

    @cached_property
    def _digests(self) -> dict[str, str]:
        return {info.path: info.digest for info in self._hub.top(at=self.revision)}
