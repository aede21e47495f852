"""Whether somebody may put a large file into a repo without sending it.

Knowing the sha256 of a file is not having it: who does not see it in this repo has to have uploaded it, or
the files of private repos could be had by anybody who learns their hash.
"""

from __future__ import annotations

import time
from functools import cached_property

from hub_sync.server.access import may_write
from hub_sync.server.call import Call
from hub_sync.server.failures import too_large
from hub_sync.server.service import Service


class Possession:
    """The blobs that a caller may point at in one repo."""

    def __init__(self, call: Call) -> None:
        self._store, self._repo, self._user = call.service.store, call.repo.key, call.person.name

    def has(self, sha256: str) -> bool:
        """Whether this blob is here, and the caller has it or sees it in this repo."""
        here = self._store.blobs.has(sha256)
        return here and (sha256 in self._uploaded or sha256 in self._in_repo)

    @cached_property
    def _uploaded(self) -> set[str]:
        with self._store.database.connection() as db:
            rows = db.execute("SELECT sha256 FROM uploads WHERE user = ?", (self._user,))
            return {row["sha256"] for row in rows}

    @cached_property
    def _in_repo(self) -> set[str]:
        return self._store.reach.of_repo(self._repo)


def note_upload(service: Service, sha256: str, user: str, size: int) -> None:
    """Somebody has this file; it is kept for them for a day, until it is committed."""
    with service.store.database.exclusive() as db:
        db.execute("INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?)", (sha256, user, size, time.time()))


def was_sent(service: Service, sha256: str, user: str, size: int) -> bool:
    """Whether somebody sent this file and has not committed it yet."""
    query = "SELECT 1 FROM uploads WHERE sha256 = ? AND user = ? AND size = ?"
    with service.store.database.connection() as db:
        found = db.execute(query, (sha256, user, size)).fetchone()
    return found is not None and service.store.blobs.has(sha256)


def room_of(call: Call) -> int:
    """The bytes that the caller may upload and not commit: for those who may only open pull requests, one."""
    if may_write(call.caller, call.repo):
        return 1 << 62
    with call.service.store.database.connection() as db:
        query = "SELECT SUM(size) AS pending FROM uploads WHERE user = ?"
        pending = db.execute(query, (call.person.name,)).fetchone()["pending"] or 0
    return call.service.settings.max_pull_request_bytes - int(pending)


def require_room(call: Call, size: int) -> None:
    """Raises ApiError where an upload is more than the caller may leave uncommitted."""
    if size > (room := room_of(call)):
        most = call.service.settings.max_pull_request_bytes
        raise too_large(
            f"{size:,} bytes to upload, {max(room, 0):,} are left of the {most:,} for pull requests"
        )
