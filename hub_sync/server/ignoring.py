""".gitignore: which files of a folder the client leaves out of a commit.

Segment by segment with patterns that do not backtrack, because the file is a stranger's: a regular expression
for a whole path can be made to run for years.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate

LONGEST, MOST = 1 << 16, 500  # characters and patterns; more are not read
Segment = re.Pattern[str] | None  # None: any number of folders


class Ignored:
    """The files that a .gitignore keeps out of a commit."""

    def __init__(self, text: object) -> None:
        lines = [line.rstrip() for line in str(text)[:LONGEST].splitlines()]
        self._rules = [_rule(line) for line in lines if line and not line.startswith("#")][:MOST]

    def has(self, path: str) -> bool:
        """Whether the file, or a folder that it is in, is ignored."""
        parts = path.split("/")
        return any(self._decides(parts[:end], is_folder=end < len(parts)) for end in range(1, len(parts) + 1))

    def _decides(self, parts: Sequence[str], *, is_folder: bool) -> bool:
        """What the last rule that matches says."""
        for ignored, folders_only, segments in reversed(self._rules):
            if (is_folder or not folders_only) and _matches(parts, segments):
                return ignored
        return False


def _rule(line: str) -> tuple[bool, bool, list[Segment]]:
    """(ignored rather than kept, for folders only, segments) of a line."""
    ignored = not line.startswith("!")
    pattern = line if ignored else line[1:]
    folders_only, pattern = pattern.endswith("/"), pattern.rstrip("/")
    anywhere = "/" not in pattern
    words = ["**"] * anywhere + pattern.lstrip("/").split("/")
    return ignored, folders_only, [None if word == "**" else re.compile(translate(word)) for word in words]


def _matches(parts: Sequence[str], segments: Sequence[Segment]) -> bool:
    """Whether the segments stand for exactly these parts."""
    reached = {0}  # how many parts the segments so far can stand for
    for segment in segments:
        if segment is None:
            reached = set(range(min(reached, default=len(parts) + 1), len(parts) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(parts) and segment.match(parts[at])}
    return len(parts) in reached
