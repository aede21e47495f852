"""A remote file, read by range: in aligned pieces of a few MB, kept while they are needed and fetched ahead.

Whoever fuses asks for spans of 128 kB, and a request for each would take its time in waiting. A piece serves
many of them, is given up when all of it was handed out, and the next one is on its way meanwhile. Threads
that want the same piece wait for one fetch of it. Nothing is kept on the disk: what is read twice is fetched
twice.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future

PIECE = 4 << 20
"""Bytes of a piece."""

Fetched = tuple[bytearray, int]
"""(the bytes that were asked for, fewer where the file ends before; bytes of the whole file)."""
Fetch = Callable[[int, int], Fetched]
"""(first byte, last byte + 1) of a file -> them."""


class Pieces:
    """The pieces of all files of one place: a few, however many files these are."""

    def __init__(self, most: int | None = None) -> None:
        # What the threads of this process work on is near together; two more for what comes next.
        self.most = most or 3 + len(os.sched_getaffinity(0)) // 4
        self._held: OrderedDict[tuple[str, int], Future[Fetched]] = OrderedDict()
        self._left: dict[tuple[str, int], int] = {}  # bytes that nobody asked for yet
        self._lock = threading.Lock()

    def take(self, name: str, index: int, fetch: Fetch) -> Fetched:
        """A piece of a file, once it is there. Raises what `fetch` raises."""
        piece, is_new = self._find(name, index)
        if is_new:
            self._fill(piece, name, index, fetch)
        return piece.result()

    def ahead(self, name: str, index: int, fetch: Fetch) -> None:
        """Fetch a piece in the background. A failure is told to whoever takes it, if anybody does."""
        piece, is_new = self._find(name, index)
        if is_new:
            arguments = (piece, name, index, fetch)
            threading.Thread(target=self._fill, args=arguments, daemon=True, name="ahead").start()

    def used(self, name: str, index: int, count: int, size: int) -> None:
        """So many bytes of a piece of `size` were handed out. With the last of them, the piece goes."""
        with self._lock:
            left = self._left.get((name, index), size) - count
            self._left[name, index] = left
            if left <= 0 or (name, index) not in self._held:
                self._forget(name, index)

    def _find(self, name: str, index: int) -> tuple[Future[Fetched], bool]:
        with self._lock:
            piece = self._held.get((name, index))
            if piece is not None:
                self._held.move_to_end((name, index))
                return piece, False
            piece = self._held[name, index] = Future()
            done = [key for key, held in self._held.items() if held.done()]
            for key in done[: max(0, len(self._held) - self.most)]:
                self._forget(*key)
            return piece, True

    def _fill(self, piece: Future[Fetched], name: str, index: int, fetch: Fetch) -> None:
        try:
            piece.set_result(fetch(index * PIECE, (index + 1) * PIECE))
        except BaseException as exc:
            with self._lock:
                self._forget(name, index)
            piece.set_exception(exc)

    def _forget(self, name: str, index: int) -> None:
        self._held.pop((name, index), None)
        self._left.pop((name, index), None)


class RangedFile:
    """A remote file as `coldfusion.places.Bytes`. Opening it fetches its first piece."""

    def __init__(self, address: str, fetch: Fetch, pieces: Pieces) -> None:
        self.address, self._fetch, self._pieces = address, fetch, pieces
        self._last = 0
        _, self.size = pieces.take(address, 0, fetch)

    def read_into(self, view: memoryview, position: int) -> None:
        while view:
            index, offset = divmod(position, PIECE)
            piece = self._piece(index)
            got = min(len(view), len(piece) - offset)
            if got <= 0:
                raise EOFError(f"{self.address}: ends at byte {position}")
            view[:got] = memoryview(piece)[offset : offset + got]
            self._pieces.used(self.address, index, got, len(piece))
            view, position = view[got:], position + got

    @property
    def descriptor(self) -> None:
        return None

    def fingerprint(self) -> str:
        return ""  # the address names the revision, which never changes

    def close(self) -> None:
        """Nothing is held open."""

    def _piece(self, index: int) -> bytearray:
        if index * PIECE >= self.size:
            return bytearray()
        if index == self._last + 1 and (index + 1) * PIECE < self.size:  # read on from piece to piece
            self._pieces.ahead(self.address, index + 1, self._fetch)
        self._last = index
        return self._pieces.take(self.address, index, self._fetch)[0]
