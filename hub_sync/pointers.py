"""What git holds in place of a large file: a Git LFS pointer."""

from __future__ import annotations

import re
from dataclasses import dataclass

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize ([0-9]{1,15})\n"
)


@dataclass(frozen=True, slots=True)
class Pointer:
    """The name and the size of a blob."""

    sha256: str
    size: int

    def encode(self) -> bytes:
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n"
        return text.encode()

    @staticmethod
    def decode(data: bytes) -> Pointer | None:
        """The pointer that `data` is, or None where it is an ordinary file."""
        found = _POINTER.fullmatch(data)
        return Pointer(found[1].decode(), int(found[2])) if found else None
