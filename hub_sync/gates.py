"""Who asked for access to gated repos, and what became of it."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hub_sync.database import Database
from hub_sync.texts import from_store


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """One person's request for one repo."""

    id: int
    user: str
    status: str  # pending, accepted or rejected
    created_at: float  # seconds since 1970
    fields: Mapping[str, Any]  # what they filled in; empty where access was granted unasked


class Gates:
    """The access requests of every repo of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def status(self, repo: str, user: str) -> str | None:
        """What became of somebody's request; None where there is none."""
        query = "SELECT status FROM access_requests WHERE repo = ? AND user = ?"
        with self._database.connection() as db:
            row = db.execute(query, (repo, user)).fetchone()
        return str(row["status"]) if row else None

    def all(self, repo: str, status: str) -> list[AccessRequest]:
        """Newest first."""
        query = "SELECT * FROM access_requests WHERE repo = ? AND status = ? ORDER BY id DESC"
        with self._database.connection() as db:
            return [_request(row) for row in db.execute(query, (repo, status))]

    def user_of(self, repo: str, request_id: int) -> str | None:
        """Who made a request."""
        query = "SELECT user FROM access_requests WHERE repo = ? AND id = ?"
        with self._database.connection() as db:
            row = db.execute(query, (repo, request_id)).fetchone()
        return str(row["user"]) if row else None

    def set(self, repo: str, user: str, status: str, fields: Mapping[str, Any] | None = None) -> bool:
        """Write down a request or its outcome. False where it is so already."""
        with self._database.exclusive() as db:
            row = db.execute(
                "SELECT status FROM access_requests WHERE repo = ? AND user = ?", (repo, user)
            ).fetchone()
            if row and row["status"] == status:
                return False
            if row:
                change = "UPDATE access_requests SET status = ? WHERE repo = ? AND user = ?"
                db.execute(change, (status, repo, user))
            else:
                columns = "(repo, user, status, created_at, fields)"
                row = (repo, user, status, time.time(), json.dumps(fields or {}))
                db.execute(f"INSERT INTO access_requests {columns} VALUES (?, ?, ?, ?, ?)", row)
        return True


def _request(row: sqlite3.Row) -> AccessRequest:
    known = {name: row[name] for name in ("id", "user", "status", "created_at")}
    return AccessRequest(**known, fields=from_store(row["fields"]))
