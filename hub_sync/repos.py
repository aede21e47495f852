"""Which repos a store has, who may see them, and where renamed ones went."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass

from hub_sync.database import Database

PREFIXES = {"model": "", "dataset": "datasets/", "space": "spaces/"}
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")  # of a namespace or of a repo in it


@dataclass(frozen=True, slots=True, kw_only=True)
class RepoRow:
    """One repo. Its key names it everywhere in the store."""

    key: str
    private: bool = False
    gated: str = ""  # "", "auto" or "manual"
    discussions_disabled: bool = False
    created_at: float = 0.0  # seconds since 1970

    @property
    def kind(self) -> str:
        """model, dataset or space."""
        return next((kind for kind, prefix in PREFIXES.items() if prefix and self._is_in(prefix)), "model")

    @property
    def id(self) -> str:
        """As users say it: namespace/name."""
        return self.key.removeprefix(PREFIXES[self.kind])

    @property
    def namespace(self) -> str:
        """The user or the org that it belongs to."""
        return self.id.split("/", 1)[0]

    def _is_in(self, prefix: str) -> bool:
        return self.key.startswith(prefix) and self.key.count("/") == 2


class Repos:
    """The table of repos. Ids are found whatever their case."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, key: str) -> RepoRow | None:
        """The repo of this key."""
        with self._database.connection() as db:
            row = db.execute("SELECT * FROM repos WHERE key = ?", (key,)).fetchone()
        return _row(row) if row else None

    def renamed(self, key: str) -> str | None:
        """The key that a repo which once had this one has now."""
        with self._database.connection() as db:
            row = db.execute("SELECT new FROM redirects WHERE old = ?", (key,)).fetchone()
        return str(row["new"]) if row else None

    def all(self) -> list[RepoRow]:
        """Newest first."""
        with self._database.connection() as db:
            return [_row(row) for row in db.execute("SELECT * FROM repos ORDER BY created_at DESC")]


def is_name(text: str) -> bool:
    """Whether a user, an org or a repo may be called so."""
    return bool(_NAME.fullmatch(text)) and not text.endswith(".git") and ".." not in text and "--" not in text


def has_repo(db: sqlite3.Connection, key: str) -> bool:
    """Whether there is a repo of this key, whatever its case, for the holder of the lock."""
    return db.execute("SELECT 1 FROM repos WHERE key = ?", (key,)).fetchone() is not None


def add_repo(db: sqlite3.Connection, repo: RepoRow) -> None:
    """Add a repo unless it is there. A name that a renamed repo left behind is free again."""
    row = (repo.key, repo.private, repo.gated, repo.discussions_disabled, repo.created_at or time.time())
    db.execute("INSERT OR IGNORE INTO repos VALUES (?, ?, ?, ?, ?)", row)
    db.execute("DELETE FROM redirects WHERE old = ?", (repo.key,))


def update_repo(db: sqlite3.Connection, repo: RepoRow) -> None:
    """Write what may change: who sees it."""
    change = "UPDATE repos SET private = ?, gated = ?, discussions_disabled = ? WHERE key = ?"
    db.execute(change, (repo.private, repo.gated, repo.discussions_disabled, repo.key))


def remove_repo(db: sqlite3.Connection, key: str) -> None:
    """Forget a repo and all that was said about it."""
    db.execute("DELETE FROM repos WHERE key = ?", (key,))
    db.execute("DELETE FROM redirects WHERE new = ?", (key,))
    for table in ("discussions", "pull_requests", "events", "access_requests"):
        db.execute(f"DELETE FROM {table} WHERE repo = ?", (key,))


def start_move(db: sqlite3.Connection, old: str, new: str) -> None:
    """Write down that a repo is to be renamed, so that whoever comes after a crash can finish it."""
    db.execute("DELETE FROM redirects WHERE old = ?", (new,))
    db.execute("INSERT OR REPLACE INTO redirects VALUES (?, ?, 0)", (old, new))


def finish_move(db: sqlite3.Connection, old: str, new: str) -> None:
    """Give everything that is known about the repo its new key."""
    db.execute("UPDATE repos SET key = ? WHERE key = ?", (new, old))
    for table in ("discussions", "pull_requests", "events", "access_requests"):
        db.execute(f"UPDATE {table} SET repo = ? WHERE repo = ?", (new, old))
    db.execute("UPDATE redirects SET new = ? WHERE new = ?", (new, old))  # names from before stay good
    db.execute("UPDATE redirects SET done = 1 WHERE old = ?", (old,))


def drop_move(db: sqlite3.Connection, old: str) -> None:
    """Forget a move that cannot be any more: the repo is gone, or its new name is taken."""
    db.execute("DELETE FROM redirects WHERE old = ? AND NOT done", (old,))


def unfinished_moves(db: sqlite3.Connection) -> Iterable[tuple[str, str]]:
    """(old, new) of what a crash interrupted."""
    return [(row["old"], row["new"]) for row in db.execute("SELECT old, new FROM redirects WHERE NOT done")]


def _row(row: sqlite3.Row) -> RepoRow:
    flags = {name: bool(row[name]) for name in ("private", "discussions_disabled")}
    return RepoRow(key=row["key"], gated=row["gated"], created_at=row["created_at"], **flags)
