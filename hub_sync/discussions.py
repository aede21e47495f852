"""Pull requests' discussions in SQLite: number, title, author, status, events. Survives a SIGKILL.

The database is also the store's lock: whoever is inside `exclusive` is the only one that moves refs.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from coldfusion.errors import NotOnHub, StorageError, writing

PATIENCE = 60.0  # seconds to wait for another process's write

_SCHEMA = """
CREATE TABLE IF NOT EXISTS discussions (
    repo TEXT NOT NULL, number INTEGER NOT NULL, title TEXT NOT NULL, author TEXT NOT NULL,
    status TEXT NOT NULL, is_pull_request INTEGER NOT NULL, created_at REAL NOT NULL,
    PRIMARY KEY (repo, number)
);
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, repo TEXT NOT NULL, number INTEGER NOT NULL, type TEXT NOT NULL,
    author TEXT NOT NULL, created_at REAL NOT NULL, data TEXT NOT NULL,
    FOREIGN KEY (repo, number) REFERENCES discussions (repo, number)
);
CREATE INDEX IF NOT EXISTS events_of ON events (repo, number);
"""


@dataclass(frozen=True, slots=True)
class Discussion:
    """One row: a pull request (or an issue) of one repo."""

    number: int
    title: str
    author: str
    status: str  # open, closed, merged or draft


class Discussions:
    """The discussions of every repo of a store."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(_SCHEMA)

    @contextmanager
    def exclusive(self) -> Iterator[sqlite3.Connection]:
        """Hold the store's lock. What was written is kept on a normal exit and undone on any other."""
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def open_pull_requests(self, repo: str) -> list[Discussion]:
        """By number."""
        query = (
            "SELECT number, title, author, status FROM discussions"
            " WHERE repo = ? AND status = 'open' AND is_pull_request ORDER BY number"
        )
        with self._connection() as db:
            return [Discussion(*row) for row in db.execute(query, (repo,))]

    def comments(self, repo: str, number: int) -> list[str]:
        """The comments on a discussion, oldest first."""
        query = "SELECT data FROM events WHERE repo = ? AND number = ? AND type = 'comment' ORDER BY id"
        with self._connection() as db:
            return [str(json.loads(data)["text"]) for (data,) in db.execute(query, (repo, number))]

    def status(self, repo: str, number: int) -> str:
        """Raises NotOnHub where there is no such discussion."""
        query = "SELECT status FROM discussions WHERE repo = ? AND number = ?"
        with self._connection() as db:
            row = db.execute(query, (repo, number)).fetchone()
        if row is None:
            raise NotOnHub(f"no pull request #{number} in {repo}")
        return str(row[0])

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)) as db:
                yield db
        except sqlite3.Error as exc:
            free = shutil.disk_usage(self.path.parent).free // 1024  # SQLite does not say that a disk is full
            raise StorageError(f"cannot use {self.path}: {exc} ({free:,} KiB are free there)") from exc


def highest_number(db: sqlite3.Connection, repo: str) -> int:
    """The last number given to a discussion of a repo; 0 where there is none."""
    return int(db.execute("SELECT MAX(number) FROM discussions WHERE repo = ?", (repo,)).fetchone()[0] or 0)


def add_pull_request(db: sqlite3.Connection, repo: str, number: int, title: str, author: str) -> None:
    """Open a pull request."""
    row = (repo, number, title, author, "open", 1, time.time())
    db.execute("INSERT INTO discussions VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def close_with_comment(db: sqlite3.Connection, repo: str, number: int, author: str, comment: str) -> None:
    """Say why and close, in one go."""
    event = "INSERT INTO events (repo, number, type, author, created_at, data) VALUES (?, ?, ?, ?, ?, ?)"
    now = time.time()
    db.execute(event, (repo, number, "comment", author, now, json.dumps({"text": comment})))
    db.execute(event, (repo, number, "status-change", author, now, json.dumps({"status": "closed"})))
    db.execute("UPDATE discussions SET status = 'closed' WHERE repo = ? AND number = ?", (repo, number))
