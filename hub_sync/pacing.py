"""Staying within a Hub's rate limits: reads what its answers say is left, and waits before asking for more.

The Hub counts calls in windows and says so in every answer (`RateLimit: "api";r=12;t=55`: 12 calls are left
for 55 seconds). Whoever stops in time is never refused.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock

_LEFT = re.compile(r'"(\w+)"\s*;\s*r\s*=\s*(\d+)\s*;\s*t\s*=\s*(\d+)')
RESERVE = 2  # calls that are left for others who share the limit


@dataclass(slots=True)
class Pacer:
    """Counts calls by kind and holds the next one back while its kind is used up. Threads may share one."""

    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    calls: dict[str, int] = field(default_factory=dict)  # kind -> how many were made
    _closed_until: dict[str, float] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def before(self, url: str) -> None:
        """Wait, if need be, until a call to `url` is welcome, and count it."""
        kind = kind_of(url)
        with self._lock:
            self.calls[kind] = self.calls.get(kind, 0) + 1
            wait = self._closed_until.get(kind, 0.0) - self.clock()
        if wait > 0:
            self.sleep(wait)

    def after(self, url: str, headers: Mapping[str, str]) -> None:
        """Learn from an answer how many calls are left."""
        found = _LEFT.search(headers.get("ratelimit", ""))
        if found and int(found[2]) <= RESERVE:
            with self._lock:
                self._closed_until[kind_of(url)] = self.clock() + int(found[3]) + 1

    @property
    def total(self) -> int:
        """Calls of any kind."""
        return sum(self.calls.values())


def kind_of(url: str) -> str:
    """The limit that a call counts against: `resolve` for files, `api` for the rest."""
    return "resolve" if "/resolve/" in url else "api"
