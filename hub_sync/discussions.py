"""Discussions and pull requests: number, title, author, status, events. One counter per repo.

What changes them takes the connection of `Database.exclusive`, because a pull request's row and its git ref
are written under one lock.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coldfusion.errors import NotOnHub
from hub_sync.database import Database
from hub_sync.texts import from_store

_COLUMNS = (
    "SELECT d.repo, d.number, d.title, d.author, d.status, d.is_pull_request, d.created_at,"
    " p.base, p.merge_commit FROM discussions d LEFT JOIN pull_requests p USING (repo, number)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Discussion:
    """One row: a pull request or an ordinary discussion of one repo."""

    repo: str
    number: int
    title: str
    author: str
    status: str  # open, closed, merged or draft
    is_pull_request: bool
    created_at: float  # seconds since 1970
    base: str | None = None  # of a pull request: the ref that it is to be merged into
    merge_commit: str | None = None

    @property
    def is_open(self) -> bool:
        """As the Hub counts: a draft is open."""
        return self.status in ("open", "draft")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened in a discussion."""

    id: int
    type: str  # comment, status-change, commit or title-change
    author: str
    created_at: float  # seconds since 1970
    data: Mapping[str, Any]  # comment: text, history, hidden; status; subject, oid; from, to


class Discussions:
    """The discussions of every repo of a store, to be read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, repo: str) -> list[Discussion]:
        """By number."""
        with self._database.connection() as db:
            rows = db.execute(f"{_COLUMNS} WHERE repo = ? ORDER BY number", (repo,)).fetchall()
        return [_discussion(row) for row in rows]

    def get(self, repo: str, number: int) -> Discussion:
        """Raises NotOnHub where there is no such discussion."""
        with self._database.connection() as db:
            row = db.execute(f"{_COLUMNS} WHERE repo = ? AND number = ?", (repo, number)).fetchone()
        if row is None:
            raise NotOnHub(f"no pull request #{number} in {repo}")
        return _discussion(row)

    def status(self, repo: str, number: int) -> str:
        """Raises NotOnHub where there is no such discussion."""
        return self.get(repo, number).status

    def open_pull_requests(self, repo: str) -> list[Discussion]:
        """By number; drafts are not submitted yet."""
        where = "WHERE repo = ? AND status = 'open' AND is_pull_request ORDER BY number"
        with self._database.connection() as db:
            return [_discussion(row) for row in db.execute(f"{_COLUMNS} {where}", (repo,))]

    def events(self, repo: str, number: int) -> list[Event]:
        """Oldest first."""
        query = "SELECT * FROM events WHERE repo = ? AND number = ? ORDER BY id"
        with self._database.connection() as db:
            return [_event(row) for row in db.execute(query, (repo, number))]

    def comments(self, repo: str, number: int) -> list[str]:
        """The comments on a discussion, oldest first."""
        return [str(event.data["text"]) for event in self.events(repo, number) if event.type == "comment"]


def highest_number(db: sqlite3.Connection, repo: str) -> int:
    """The last number given to a discussion of a repo; 0 where there is none."""
    return int(db.execute("SELECT MAX(number) FROM discussions WHERE repo = ?", (repo,)).fetchone()[0] or 0)


def count_events(db: sqlite3.Connection, about: Discussion) -> int:
    """How much was said and done in a discussion."""
    query = "SELECT COUNT(*) FROM events WHERE repo = ? AND number = ?"
    return int(db.execute(query, (about.repo, about.number)).fetchone()[0])


def add_discussion(db: sqlite3.Connection, discussion: Discussion) -> None:
    """Open a discussion, or a pull request whose ref is there already."""
    d = discussion
    row = (d.repo, d.number, d.title, d.author, d.status, d.is_pull_request, d.created_at)
    db.execute("INSERT INTO discussions VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    if d.is_pull_request:
        db.execute("INSERT INTO pull_requests VALUES (?, ?, ?, NULL)", (d.repo, d.number, d.base))


def add_event(
    db: sqlite3.Connection, about: Discussion, kind: str, *, author: str, data: Mapping[str, Any]
) -> Event:
    """Write down what happened."""
    now = time.time()
    insert = "INSERT INTO events (repo, number, type, author, created_at, data) VALUES (?, ?, ?, ?, ?, ?)"
    done = db.execute(insert, (about.repo, about.number, kind, author, now, json.dumps(data)))
    return Event(id=done.lastrowid or 0, type=kind, author=author, created_at=now, data=data)


def set_status(db: sqlite3.Connection, about: Discussion, status: str, *, author: str) -> Event:
    """Open, close or mark as merged."""
    where = "WHERE repo = ? AND number = ?"
    db.execute(f"UPDATE discussions SET status = ? {where}", (status, about.repo, about.number))
    return add_event(db, about, "status-change", author=author, data={"status": status})


def set_merged(db: sqlite3.Connection, about: Discussion, commit: str, *, author: str) -> None:
    """A pull request is in its base now, by this commit."""
    set_status(db, about, "merged", author=author)
    where = "WHERE repo = ? AND number = ?"
    db.execute(f"UPDATE pull_requests SET merge_commit = ? {where}", (commit, about.repo, about.number))


def set_title(db: sqlite3.Connection, about: Discussion, title: str, *, author: str) -> Event:
    """Rename."""
    where = "WHERE repo = ? AND number = ?"
    db.execute(f"UPDATE discussions SET title = ? {where}", (title, about.repo, about.number))
    return add_event(db, about, "title-change", author=author, data={"from": about.title, "to": title})


def close_with_comment(db: sqlite3.Connection, about: Discussion, *, author: str, comment: str) -> None:
    """Say why and close, in one go."""
    add_event(db, about, "comment", author=author, data={"text": comment})
    set_status(db, about, "closed", author=author)


def _discussion(row: sqlite3.Row) -> Discussion:
    return Discussion(**{**dict(row), "is_pull_request": bool(row["is_pull_request"])})


def _event(row: sqlite3.Row) -> Event:
    known = {name: row[name] for name in ("id", "type", "author", "created_at")}
    return Event(**known, data=from_store(row["data"]))
