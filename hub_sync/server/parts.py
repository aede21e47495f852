"""A very large file that arrives in parts, each a file of its own until all of them are here.

A part has its name only when it is whole, and nobody writes to it after that; and what becomes a blob is a
copy that nobody else ever had open. So a blob is what was hashed, however late somebody sends a part again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from coldfusion.errors import writing
from hub_sync.blobs import CHUNK, BlobStore, Incoming
from hub_sync.server.failures import ApiError, conflict


class Parts:
    """The parts of the uploads that are not complete yet."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs, self._turn, self._busy = blobs, threading.Lock(), set[str]()

    def keep(self, upload: str, number: int, incoming: Incoming) -> None:
        """Take what was received as a part, in the place of an earlier one."""
        with writing(self._blobs.root):
            os.replace(incoming.path, self._path(upload, number))

    @contextmanager
    def together(self, upload: str, sizes: Sequence[int]) -> Iterator[Incoming]:
        """All parts as one new file; they are gone afterwards. Raises ApiError where one is missing."""
        with self._alone(upload):
            paths = [self._path(upload, number) for number in range(1, len(sizes) + 1)]
            for number, (path, size) in enumerate(zip(paths, sizes, strict=True), start=1):
                if not path.exists() or path.stat().st_size != size:
                    raise conflict(f"part {number} of {len(sizes)} did not arrive yet")
            with self._blobs.receive() as incoming:
                for path in paths:
                    self._move(path, incoming)
                yield incoming

    def forget(self, upload: str, count: int) -> None:
        """Drop what is here of an upload."""
        for number in range(1, count + 1):
            self._path(upload, number).unlink(missing_ok=True)

    def _move(self, path: Path, incoming: Incoming) -> None:
        """Append a part, and free it at once: a large file never takes twice its room."""
        with path.open("rb", buffering=0) as part:
            while piece := part.read(CHUNK):
                incoming.write(piece)
        path.unlink(missing_ok=True)

    @contextmanager
    def _alone(self, upload: str) -> Iterator[None]:
        with self._turn:
            if upload in self._busy:
                message = "this upload is being put together already: ask again for what came of it"
                raise ApiError(503, message, headers={"Retry-After": "5"})
            self._busy.add(upload)
        try:
            yield
        finally:
            self._busy.discard(upload)

    def _path(self, upload: str, number: int) -> Path:
        return self._blobs.incoming / f"part-{upload}-{number}"
