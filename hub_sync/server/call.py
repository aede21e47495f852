"""One request, as the handlers see it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from coldfusion.errors import writing
from coldfusion.records import Revision
from hub_sync.gitrepo import GitRepo, is_ref_name
from hub_sync.people import Person
from hub_sync.repos import PREFIXES, RepoRow
from hub_sync.server.access import caller_of, require
from hub_sync.server.failures import bad_request, no_repo, no_revision
from hub_sync.server.routing import Need
from hub_sync.server.service import Service
from hub_sync.texts import from_outside

MAX_JSON = 4 << 20  # bytes of a body that is read at once


@dataclass(slots=True, kw_only=True)
class Call:
    """A request whose caller is known and who may make it."""

    service: Service
    request: Request
    params: dict[str, str]
    needs: Need
    caller: Person | None
    row: RepoRow | None
    body: bytes = b""

    @property
    def person(self) -> Person:
        """Who calls, on routes that need somebody."""
        assert self.caller is not None
        return self.caller

    @property
    def repo(self) -> RepoRow:
        """The repo, on routes that have one in their path."""
        assert self.row is not None
        return self.row

    @property
    def git(self) -> GitRepo:
        return self.service.store.git(self.repo.key)

    @property
    def endpoint(self) -> str:
        """This Hub's address, as the caller wrote it."""
        return str(self.request.base_url).rstrip("/")

    def url(self, repo: RepoRow) -> str:
        """The web address of a repo."""
        return f"{self.endpoint}/{PREFIXES[repo.kind]}{repo.id}"

    @contextmanager
    def alone(self) -> Iterator[sqlite3.Connection]:
        """Hold the store's lock, with the caller, their rights and the repo as they are now. Raises ApiError.

        A request may take as long as its sender likes: whoever was removed in the meantime is nobody.
        """
        store = self.service.store
        with store.database.exclusive() as db, writing(store.root):
            self.caller = caller_of(self.service, self.request)
            if self.row:
                self.row = store.repos.find(self.row.key)
                if self.row is None:
                    raise no_repo()
            require(self.service, self.caller, self.needs, self.row)
            yield db

    def query(self, name: str) -> str | None:
        return self.request.query_params.get(name)

    def count(self, name: str) -> int:
        """A query parameter that is a number; 0 where it is not given. Raises ApiError."""
        given = self.query(name) or "0"
        if not re.fullmatch("[0-9]{1,9}", given):
            raise bad_request(f"{name} has to be a number of at most 9 digits")
        return int(given)

    def flag(self, name: str) -> bool:
        """A query parameter that is given and not false."""
        return (self.query(name) or "").lower() in ("1", "true")

    def json(self) -> dict[str, Any]:
        """The body. Raises ApiError."""
        try:
            found = from_outside(self.body or b"{}")
        except (ValueError, RecursionError) as exc:
            raise bad_request(f"the body is not JSON: {exc}") from exc
        if not isinstance(found, dict):
            raise bad_request("the body is not a JSON object")
        return found

    def text(self, field: str, *, least: int = 0, most: int = 65536, default: str | None = None) -> str:
        """A string field of the body, of so many characters. Raises ApiError."""
        found = self.json().get(field, default)
        if not isinstance(found, str) or not least <= len(found) <= most:
            raise bad_request(f"{field!r} has to be a text of {least} to {most} characters")
        return found

    def revision(self, name: str | None = None) -> Revision:
        """The full revision of a branch, a tag, a ref or the beginning of a commit id. Raises ApiError."""
        name = name or self.params.get("revision") or "main"
        for ref in (f"refs/heads/{name}", f"refs/tags/{name}", name if name.startswith("refs/") else None):
            if ref and is_ref_name(ref) and (found := self.git.ref(ref)):
                return found
        if found := self.git.expand(name):
            return found
        raise no_revision(name)
