"""Which files are large: they are kept as blobs, and git holds a pointer. Told to git by .gitattributes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate

SMALL = 1 << 20  # bytes; a larger file is kept as a blob whatever its name
BINARY = [
    *["*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.onnx", "*.h5", "*.msgpack", "*.tflite"],
    *["*.model", "*.npz", "*.npy", "*.pkl", "*.pickle", "*.joblib", "*.parquet", "*.arrow", "*.ot", "*.pb"],
    *["*.zip", "*.tar", "*.tar.*", "*.tgz", "*.gz", "*.bz2", "*.xz", "*.zst", "*.7z", "*.rar", "*.wasm"],
    *["*.png", "*.jpg", "*.jpeg", "*.gif", "*.webp", "*tfevents*"],
]
"""Patterns of file names, as the Hub writes them into a new repo."""

ATTRIBUTES = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in BINARY)
""".gitattributes of every new repo: stock git with LFS finds the large files by it."""


_MOST = 500  # patterns of a .gitattributes that are read; it is a stranger's


class LargeFiles:
    """Which files are kept as blobs."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [("/" in pattern, re.compile(translate(pattern))) for pattern in patterns[:_MOST]]

    @staticmethod
    def of(attributes: str) -> LargeFiles:
        """As a .gitattributes says: what it sends to Git LFS."""
        lines = (line.split() for line in attributes.splitlines())
        return LargeFiles([words[0] for words in lines if "filter=lfs" in words[1:]])

    def has(self, path: str, size: int) -> bool:
        """Whether a file is one. An empty one never is."""
        name = path.rsplit("/", 1)[-1]
        matches = any(pattern.match(path if whole else name) for whole, pattern in self._patterns)
        return size > SMALL or (size > 0 and matches)


BY_DEFAULT = LargeFiles(BINARY)
