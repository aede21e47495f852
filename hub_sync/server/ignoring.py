""".gitignore, as far as the client relies on it."""

from __future__ import annotations

import re

from dulwich.ignore import IgnoreFilter

LONGEST = 1 << 16  # characters; more is not read


class Ignored:
    """The files that a .gitignore keeps out of a commit."""

    def __init__(self, text: object) -> None:
        lines = str(text)[:LONGEST].encode().splitlines()
        patterns = [line.rstrip() for line in lines if line.strip() and not line.startswith(b"#")]
        try:
            self._filter = IgnoreFilter(patterns)
        except re.error:
            self._filter = IgnoreFilter([])

    def has(self, path: str) -> bool:
        """Whether the file, or a folder that it is in, is ignored."""
        parts = path.split("/")
        folders = ["/".join(parts[:count]) + "/" for count in range(1, len(parts))]
        return any(self._filter.is_ignored(name) for name in [*folders, path])
