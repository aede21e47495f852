"""Patience with a remote: what may be repeated, and for how long.

Reads are simply repeated. A write whose answer was lost may have landed, so it is looked up before it is
written again (a commit that was answered 500 had landed: huggingface/datasets #7708).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from coldfusion.errors import HubUnavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a call is tried, and how long to wait between two tries."""

    attempts: int = 6
    longest: float = 30.0  # seconds of one wait, unless the Hub asks for more
    most: float = 300.0  # seconds: whoever is asked to wait longer gives up, and says how long to wait
    sleep: Callable[[float], None] = time.sleep

    def read(self, call: Callable[[], T]) -> T:
        """The answer of a call that may be repeated. Raises HubUnavailable when patience is at its end."""
        return self.write(call, lambda: None)

    def write(self, call: Callable[[], T], landed: Callable[[], T | None]) -> T:
        """The answer of a call that must not be carried out twice.

        landed: the answer of an earlier try that was carried out although it seemed to fail, or None.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                return call() if attempt == 1 else self._again(call, landed)
            except HubUnavailable as exc:
                if attempt == self.attempts or (exc.retry_after or 0.0) > self.most:
                    raise
                self.sleep(self._wait(attempt, exc))
        raise AssertionError("unreachable")

    def _again(self, call: Callable[[], T], landed: Callable[[], T | None]) -> T:
        answer = landed()
        return call() if answer is None else answer

    def _wait(self, attempt: int, exc: HubUnavailable) -> float:
        # Spread out, so that contributors who were refused together do not all come back together.
        doubling = min(self.longest, 0.5 * 2.0**attempt) * random.uniform(0.5, 1.0)
        return max(doubling, exc.retry_after or 0.0)
