"""The store's SQLite file. It is also the store's lock. Survives a SIGKILL.

Whoever is inside `exclusive`, in whatever process, is the only one that moves refs.
"""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from coldfusion.errors import StorageError, writing
from hub_sync.schema import SCHEMA

PATIENCE = 60.0  # seconds to wait for another process's write


class Database:
    """Connections to the store's SQLite file. Any number of processes and threads may use it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = threading.RLock()  # SQLite makes waiting threads poll; a lock wakes the next one at once
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.touch(mode=0o600)  # SQLite gives its other files the mode of this one
        with self.connection() as db:
            if db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                db.execute("PRAGMA journal_mode = WAL")
            db.executescript(SCHEMA)

    @contextmanager
    def exclusive(self) -> Iterator[sqlite3.Connection]:
        """Hold the store's lock. What was written is kept on a normal exit and undone on any other."""
        with self._turn, self.connection() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """To read, and to write single statements that need no lock."""
        try:
            with closing(sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)) as db:
                db.row_factory = sqlite3.Row
                yield db
        except sqlite3.Error as exc:
            free = shutil.disk_usage(self.path.parent).free // 1024  # SQLite does not say that a disk is full
            raise StorageError(f"cannot use {self.path}: {exc} ({free:,} KiB are free there)") from exc
