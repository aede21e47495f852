"""Content-addressed storage of large files: a blob is named by the sha256 of what is in it."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path

from coldfusion.errors import NotOnHub, writing

CHUNK = 4 << 20  # bytes
ABANDONED = 24 * 3600  # seconds after which an incoming file belongs to a process that died


class BlobStore:
    """Blobs below one folder. Any number of processes may put and read at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "incoming"

    def put(self, source: Path) -> tuple[str, int]:
        """Store a copy of `source`: (sha256 in hex, size in bytes). All or nothing."""
        with writing(self.root):
            self._incoming.mkdir(parents=True, exist_ok=True)
            self._forget_abandoned()
            handle, name = tempfile.mkstemp(dir=self._incoming)
            partial = Path(name)
            try:
                digest, size = _copy(source, handle)
                target = self._path(digest)
                if not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    partial.chmod(0o444)
                    os.replace(partial, target)
            finally:
                partial.unlink(missing_ok=True)
        return digest, size

    def path(self, sha256: str) -> Path:
        """Where the blob lies; to be read, never written. Raises NotOnHub."""
        path = self._path(sha256)
        if not path.exists():
            raise NotOnHub(f"no blob {sha256} in {self.root}")
        return path

    def _path(self, sha256: str) -> Path:
        return self.root / sha256[:2] / sha256[2:4] / sha256

    def _forget_abandoned(self) -> None:
        for path in self._incoming.iterdir():
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink(missing_ok=True)


def _copy(source: Path, handle: int) -> tuple[str, int]:
    """Copy into the open descriptor and close it; (sha256, bytes) of what is on the disk then."""
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as reader, os.fdopen(handle, "wb") as writer:
        while chunk := reader.read(CHUNK):
            digest.update(chunk)
            size += writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    return digest.hexdigest(), size
