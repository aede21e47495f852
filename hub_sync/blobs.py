"""Content-addressed storage of large files: a blob is named by the sha256 of what is in it."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from coldfusion.errors import NotOnHub, writing

CHUNK, BATCH, FLUSH = 4 << 20, 1 << 20, 64 << 20  # bytes
Piece = bytes | memoryview
ABANDONED = 24 * 3600  # seconds after which an incoming file belongs to a process that died


class Incoming:
    """A file that is being written into the store. It becomes a blob by `keep`, or it goes away.

    Use it as a context manager. One more thread hashes what is in the file while more is written, as far
    behind as it likes: nothing waits in memory for it. And another one sees to it that the disk does not get
    all of a large file at the end.
    """

    def __init__(self, store: BlobStore, *, hashed: bool) -> None:
        self._store = store
        self._handle, name = tempfile.mkstemp(dir=store.incoming)
        self.path, self.size = Path(name), 0
        self._file = os.fdopen(self._handle, "wb", buffering=0)
        self._threads = ThreadPoolExecutor(max_workers=2) if hashed else None
        self._digest, self._hashed, self._flushed = hashlib.sha256(), 0, 0  # bytes; flushed or on their way
        self._hashing, self._flushing = Future[None](), Future[None]()
        self._hashing.set_result(None)
        self._flushing.set_result(None)

    def write(self, *pieces: Piece) -> None:
        """Append."""
        with writing(self._store.root):
            for piece in pieces:
                view = memoryview(piece)
                while view:  # an unbuffered write may be short
                    view = view[self._file.write(view) :]
                self.size += len(piece)
            self._follow(BATCH, FLUSH)

    def take(self, pipe: int, count: int) -> None:
        """Append so many bytes that wait in a pipe. They never come into this process."""
        with writing(self._store.root):
            while count:
                moved = os.splice(pipe, self._file.fileno(), count)  # asked again: it may be closed by now
                count -= moved
                self.size += moved
            self._follow(BATCH, FLUSH)

    def _follow(self, hash_at: int, flush_at: int) -> None:
        """Have so much hashed and flushed, unless that is going on."""
        if not self._threads:
            return
        if self.size - self._hashed >= hash_at and self._hashing.done():
            self._hashing.result()
            self._hashing = self._threads.submit(self._hash, hash_at)
        if self.size - self._flushed >= flush_at and self._flushing.done():
            self._flushing.result()
            self._flushed = self.size
            self._flushing = self._threads.submit(os.fdatasync, self._handle)

    def _hash(self, least: int) -> None:
        buffer = memoryview(bytearray(BATCH))
        while (waiting := self.size - self._hashed) >= least:
            count = os.preadv(self._handle, [buffer[:waiting]], self._hashed)
            self._digest.update(buffer[:count])
            self._hashed += count

    def sha256(self) -> str:
        """Of what was written so far, in hex."""
        with writing(self._store.root):
            self._hashing.result()
            self._follow(1, 1)
            self._hashing.result()
        return self._digest.hexdigest()

    def keep(self) -> str:
        """Make it a blob; its sha256. All or nothing: it is on the disk before it has its name."""
        sha256 = self.sha256()
        with writing(self._store.root):
            self._flushing.result()
            os.fsync(self._handle)
            self._file.close()
            self._store.adopt(self.path, sha256)
        return sha256

    def __enter__(self) -> Incoming:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._threads:
            self._threads.shutdown()
        self._file.close()
        self.path.unlink(missing_ok=True)


class BlobStore:
    """Blobs below one folder. Any number of processes may put and read at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.incoming = root / "incoming"

    def put(self, source: Path) -> tuple[str, int]:
        """Store a copy of `source`: (sha256 in hex, size in bytes). All or nothing."""
        self.forget_abandoned()
        with source.open("rb") as reader, self.receive() as incoming:
            while chunk := reader.read(CHUNK):
                incoming.write(chunk)
            return incoming.keep(), incoming.size

    @contextmanager
    def receive(self, *, hashed: bool = True) -> Iterator[Incoming]:
        """A file to write into the store; without its hash it cannot be kept, but it is faster."""
        with writing(self.root):
            self.incoming.mkdir(parents=True, exist_ok=True)
            incoming = Incoming(self, hashed=hashed)
        with incoming:
            yield incoming

    def adopt(self, complete: Path, sha256: str) -> None:
        """Take a file with this content as the blob. Nobody else has it open; same file system."""
        target = self._path(sha256)
        if target.exists() and target.stat().st_size == complete.stat().st_size:
            os.utime(target)  # somebody is about to use it: too young to be collected
            return  # and one of another size is damaged: this one takes its place
        target.parent.mkdir(parents=True, exist_ok=True)
        complete.chmod(0o444)
        os.replace(complete, target)

    def has(self, sha256: str) -> bool:
        """Whether the blob is here."""
        return self._path(sha256).exists()

    def path(self, sha256: str) -> Path:
        """Where the blob lies; to be read, never written. Raises NotOnHub."""
        path = self._path(sha256)
        if not path.exists():
            raise NotOnHub(f"no blob {sha256} in {self.root}")
        return path

    def all(self) -> Iterator[Path]:
        """Every blob; its name is its sha256."""
        yield from self.root.glob("??/??/*")

    def remove(self, sha256: str) -> None:
        """Free a blob that nothing points at any more."""
        self._path(sha256).unlink(missing_ok=True)

    def forget_abandoned(self) -> None:
        """Sweep up what processes that died left unfinished."""
        if not self.incoming.exists():
            return
        with writing(self.root):
            for path in self.incoming.iterdir():
                with suppress(FileNotFoundError):  # somebody else sweeps too
                    if time.time() - path.stat().st_mtime > ABANDONED:
                        path.unlink()

    def _path(self, sha256: str) -> Path:
        return self.root / sha256[:2] / sha256[2:4] / sha256


def batched(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """The same pieces, as many at once as are worth a thread's while."""
    waiting: list[Piece] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= BATCH:
            yield waiting
            waiting, size = [], 0
    yield waiting
