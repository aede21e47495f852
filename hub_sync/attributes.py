"""Which files are large: they are kept as blobs, and git holds a pointer. Told to git by .gitattributes."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

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


def lfs_patterns(attributes: str) -> list[str]:
    """The patterns that a .gitattributes sends to Git LFS."""
    lines = (line.split() for line in attributes.splitlines())
    return [words[0] for words in lines if "filter=lfs" in words[1:]]


def is_large(path: str, size: int, patterns: Sequence[str]) -> bool:
    """Whether a file is kept as a blob. An empty one never is."""
    name = path.rsplit("/", 1)[-1]
    matches = any(fnmatchcase(path if "/" in pattern else name, pattern) for pattern in patterns)
    return size > SMALL or (size > 0 and matches)
