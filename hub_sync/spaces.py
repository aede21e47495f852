"""What is uploaded through Xet before it is a file: xorbs, in one space per user, repo and upload.

A client remembers which xorbs it uploaded to an address and does not send them again. So a space, which is
an address, loses nothing while anybody may use it: it goes away as a whole, and the next upload gets a new
one. An upload that broke off goes on in the same space. Others' spaces are out of reach, so nobody can spoil
a xorb under a name that somebody else's file needs.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from array import array
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from coldfusion.errors import writing
from hub_sync.blobs import BlobStore, Incoming, batched
from hub_sync.database import Database
from hub_sync.xetformat import FileRecipe, XetError, chunk_offsets, read_chunks

OPEN = 24 * 3600  # seconds that an idle space waits for the rest of an upload
DONE = 3600  # seconds that it waits when its files were committed, for somebody who is still at it


class Spaces:
    """The spaces of a store, each a folder of xorbs."""

    def __init__(self, database: Database, root: Path) -> None:
        self._database, self._root = database, root

    def open(self, user: str, repo: str) -> str:
        """The space of an upload that broke off, or a new one; its id."""
        with self._database.exclusive() as db, writing(self._root):
            query = "SELECT id FROM xet_spaces WHERE user = ? AND repo = ? AND NOT done"
            for row in db.execute(query, (user, repo)).fetchall():
                if self._idle(row["id"]) < OPEN:
                    os.utime(self._folder(row["id"]))
                    return str(row["id"])
            new = uuid.uuid4().hex
            (self._root / new).mkdir(parents=True)
            db.execute("INSERT INTO xet_spaces VALUES (?, ?, ?, 0)", (new, user, repo))
        return new

    def close(self, user: str, repo: str) -> None:
        """The files were committed: the next upload starts afresh."""
        with self._database.exclusive() as db:
            db.execute("UPDATE xet_spaces SET done = 1 WHERE user = ? AND repo = ?", (user, repo))

    def drop(self, space: str) -> None:
        """Something is wrong with it: it goes at once, with all that is in it."""
        with self._database.exclusive() as db:
            db.execute("DELETE FROM xet_spaces WHERE id = ?", (space,))
        shutil.rmtree(self._folder(space), ignore_errors=True)

    def size(self, user: str, space: str) -> int:
        """Bytes of all xorbs in a space and in the others that its user has open."""
        with self._database.connection() as db:
            rows = db.execute("SELECT id FROM xet_spaces WHERE user = ? AND NOT done", (user,)).fetchall()
        return sum(self._size(one) for one in {space, *(row["id"] for row in rows)})

    def is_there(self, space: str) -> bool:
        return self._folder(space).exists()

    def has(self, space: str, xorb: str) -> bool:
        return (self._folder(space) / xorb).exists()

    def keep(self, space: str, xorb: str, incoming: Incoming) -> None:
        """Take what was received as this xorb. Raises XetError where the space went away."""
        with writing(self._root):
            try:
                os.utime(self._folder(space))
                os.rename(incoming.path, self._folder(space) / xorb)
            except FileNotFoundError as exc:
                raise XetError("this upload is over: start it again") from exc

    def rebuild(self, space: str, recipe: FileRecipe, blobs: BlobStore) -> None:
        """Put a file together and keep it as a blob. Raises XetError."""
        for xorb in {term.xorb for term in recipe.terms}:
            if not self.has(space, xorb):
                raise XetError(f"xorb {xorb} was not uploaded")
        with blobs.receive() as incoming:
            try:
                os.utime(self._folder(space))
                for pieces in batched(self._content(space, recipe)):
                    incoming.write(*pieces)
            except FileNotFoundError as exc:
                raise XetError("this upload is over: start it again") from exc
            if incoming.sha256() != recipe.sha256:
                raise XetError(f"what was uploaded is {incoming.sha256()}, not {recipe.sha256}")
            incoming.keep()

    def sweep(self) -> None:
        """Drop the spaces that nobody uses any more, with all that is in them."""
        with self._database.exclusive() as db, writing(self._root):
            rows = db.execute("SELECT id, done FROM xet_spaces").fetchall()
            for row in rows:
                if self._idle(row["id"]) > (DONE if row["done"] else OPEN):
                    db.execute("DELETE FROM xet_spaces WHERE id = ?", (row["id"],))
            kept = {row["id"] for row in db.execute("SELECT id FROM xet_spaces")}
            folders = list(self._root.iterdir()) if self._root.exists() else []
        for folder in folders:
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def _content(self, space: str, recipe: FileRecipe) -> Iterator[bytes | memoryview]:
        offsets = lru_cache(maxsize=32)(self._offsets)
        for term in recipe.terms:
            with (self._folder(space) / term.xorb).open("rb") as xorb:
                yield from read_chunks(xorb, offsets(space, term.xorb), term)

    def _offsets(self, space: str, xorb: str) -> array[int]:
        with (self._folder(space) / xorb).open("rb") as file:
            return chunk_offsets(file)

    def _size(self, space: str) -> int:
        try:
            return sum(path.stat().st_size for path in self._folder(space).iterdir())
        except FileNotFoundError:  # dropped in the meantime
            return 0

    def _idle(self, space: str) -> float:
        try:
            return time.time() - self._folder(space).stat().st_mtime
        except FileNotFoundError:
            return float("inf")

    def _folder(self, space: str) -> Path:
        return self._root / space
