"""How much of what somebody uploaded may lie here uncommitted, where they may only open pull requests.

Everything that counts is a row of the table of uploads: blobs under their sha256, and under names that no
blob can have what is on its way to become one. A row is made before the bytes arrive, under the store's lock,
so that no two uploads at once get the same room. It goes away with the commit, or after a day.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from hub_sync.server.access import may_write
from hub_sync.server.call import Call
from hub_sync.server.failures import too_large
from hub_sync.server.service import ARRIVING, Service

UNLIMITED = 1 << 62  # bytes
_INSERT = "INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?)"


def cap_of(call: Call) -> int:
    """The bytes that the caller may leave uncommitted. Addresses that are signed for them say it too."""
    return UNLIMITED if may_write(call.caller, call.repo) else call.service.settings.max_pull_request_bytes


def require_room(service: Service, user: str, cap: int, size: int, *, instead_of: str = "") -> None:
    """Raises ApiError where so many bytes more are too many."""
    if cap < UNLIMITED:
        with service.store.database.connection() as db:
            _require(db, user, cap, size, instead_of)


def reserve(
    service: Service, user: str, cap: int, size: int, *, instead_of: str, kind: str = ARRIVING
) -> str:
    """Room for what is about to arrive; its name, for `note_upload` or `release`. Raises ApiError.

    The rows that match `instead_of` (a GLOB) are of the same bytes and do not count.
    """
    name = f"{kind}{uuid.uuid4().hex}"
    if cap < UNLIMITED:
        with service.store.database.exclusive() as db:
            _require(db, user, cap, size, instead_of)
            db.execute(_INSERT, (name, user, size, time.time()))
    return name


@contextmanager
def reserved(service: Service, user: str, cap: int, size: int, *, instead_of: str) -> Iterator[str]:
    """The same, released where an error comes in between."""
    name = reserve(service, user, cap, size, instead_of=instead_of)
    try:
        yield name
    except BaseException:
        release(service, user, name)
        raise


def release(service: Service, user: str, names: str) -> None:
    """What was counted under these names (a GLOB) is gone."""
    with service.store.database.exclusive() as db:
        db.execute("DELETE FROM uploads WHERE user = ? AND sha256 GLOB ?", (user, names))


def note_upload(service: Service, name: str, user: str, size: int, *, instead_of: str = "") -> None:
    """Somebody has the file of this sha256; it is kept for them for a day, until it is committed.

    Or a part of one, under a name. `size` is what it takes here, whatever the client says. The rows of what
    it was made of (a GLOB) go.
    """
    with service.store.database.exclusive() as db:
        if instead_of:
            db.execute("DELETE FROM uploads WHERE user = ? AND sha256 GLOB ?", (user, instead_of))
        db.execute(_INSERT, (name, user, size, time.time()))


def has_uploaded(service: Service, sha256: str, user: str) -> bool:
    """Whether somebody has this file here and has not committed it yet."""
    with service.store.database.connection() as db:
        query = "SELECT 1 FROM uploads WHERE sha256 = ? AND user = ?"
        noted = db.execute(query, (sha256, user)).fetchone()
    return noted is not None and service.store.blobs.has(sha256)


def _require(db: sqlite3.Connection, user: str, cap: int, size: int, instead_of: str) -> None:
    query = "SELECT SUM(size) AS pending FROM uploads WHERE user = ? AND sha256 NOT GLOB ?"
    room = cap - (db.execute(query, (user, instead_of)).fetchone()["pending"] or 0)
    if size > room:
        raise too_large(
            f"{size:,} bytes to upload, {max(room, 0):,} are left of the {cap:,} for pull requests"
        )
