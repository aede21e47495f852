""".gitignore: which files of a folder the client leaves out of a commit.

The file is a stranger's. So its patterns are matched folder by folder without backtracking, and all rules at
once: an integer has a bit for each place in each rule that a path can have come to so far.
"""

from __future__ import annotations

import re
from collections import defaultdict
from fnmatch import translate
from functools import lru_cache

LONGEST, MOST = 1 << 16, 250  # characters; rules, and names with wildcards in them. More are not read.
DEEPEST = 32  # folders of a path that are looked at


class Ignored:
    """The files that a .gitignore keeps out of a commit."""

    def __init__(self, text: object) -> None:
        self._length = self._starts = self._any = 0  # places; where rules start; where a ** stands
        self._ends, self._file_ends = 0, 0  # where rules end, and those that are not for folders only
        self._kept = 0  # the ends of rules that begin with !
        self._names: defaultdict[str, int] = defaultdict(int)  # what stands at which places
        self._patterns: defaultdict[str, int] = defaultdict(int)
        rules = (line.rstrip() for line in str(text)[:LONGEST].splitlines())
        for rule in [rule for rule in rules if rule and not rule.startswith("#")][:MOST]:
            if len(self._patterns) < MOST:
                self._add(rule)
        self._compiled = [(re.compile(translate(name)), places) for name, places in self._patterns.items()]
        self._places_of = lru_cache(maxsize=1 << 12)(self._look_up)

    def has(self, path: str) -> bool:
        """Whether the file, or a folder that it is in, is ignored."""
        parts, reached = path.split("/"), self._skipping(self._starts)
        for count, part in enumerate(parts[:DEEPEST], start=1):
            reached = self._skipping((reached & self._places_of(part)) << 1 | reached & self._any)
            ends = reached & (self._ends if count < len(parts) else self._file_ends)
            if ends and not self._kept >> (ends.bit_length() - 1) & 1:  # the last rule that matches decides
                return True
        return False

    def _add(self, rule: str) -> None:
        """Give a rule its places: one before each of its names, and one at its end."""
        pattern = rule.removeprefix("!")
        names = pattern.strip("/").split("/")
        if "/" not in pattern.rstrip("/"):  # anywhere
            names.insert(0, "**")
        self._starts |= 1 << self._length
        for before, name in zip(["", *names], names, strict=False):
            if name != "**":
                wild = self._patterns if set(name) & set("*?[") else self._names
                wild[name] |= 1 << self._length
            elif before == "**":
                continue  # two of them are one
            else:
                self._any |= 1 << self._length
            self._length += 1
        end = 1 << self._length
        self._ends |= end
        self._file_ends |= 0 if pattern.endswith("/") else end
        self._kept |= end if rule.startswith("!") else 0
        self._length += 1

    def _skipping(self, reached: int) -> int:
        """Also the places after a **, which may stand for no folder."""
        return reached | (reached & self._any) << 1

    def _look_up(self, part: str) -> int:
        places = self._names.get(part, 0)
        for pattern, where in self._compiled:
            if pattern.match(part):
                places |= where
        return places
