"""The folders that this user's programs keep on this machine: where, under which name, for one at a time."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coldfusion.errors import ColdFusionError, writing


def state_folder() -> Path:
    """Where this user's programs keep what they need again (XDG base directory specification)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "coldfusion"


def short_digest(*parts: object) -> str:
    """16 hex digits that name these JSON values, also where they could not be part of a path."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@contextmanager
def alone_in(room: Path, otherwise: ColdFusionError) -> Iterator[None]:
    """Hold a folder, made where there is none, for this process; a killed one holds nothing back.

    Raises `otherwise` where another process is at work there.
    """
    with writing(room):
        room.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(room / "lock", os.O_CREAT | os.O_RDWR)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise otherwise from exc
        yield
    finally:
        os.close(descriptor)
