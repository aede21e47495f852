"""How many requests one caller may make, told in the headers that the client honours."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable

from hub_sync.server.failures import ApiError

GENEROSITY = {"api": 1, "resolvers": 5, "uploads": 5}
"""Downloads are cheap, and a snapshot is many of them; so is the upload of a large file, which has parts."""


class Limiter:
    """Counts requests in windows of fixed length; 0 requests are no limit."""

    def __init__(self, limit: int, window: int, now: Callable[[], float] = time.time) -> None:
        self._limit, self._window, self._now = limit, window, now
        self._turn, self._current, self._counts = threading.Lock(), 0, Counter[tuple[str, str]]()

    def take(self, who: str, kind: str) -> dict[str, str]:
        """Count a request; the headers of its answer. Raises ApiError where it is one too many."""
        if not self._limit:
            return {}
        limit, now = self._limit * GENEROSITY[kind], self._now()
        with self._turn:
            if self._current != (current := int(now // self._window)):
                self._current, self._counts = current, Counter()
            self._counts[who, kind] += 1
            left = limit - self._counts[who, kind]
        reset = math.ceil((current + 1) * self._window - now)
        headers = {
            "RateLimit": f'"{kind}";r={max(left, 0)};t={reset}',
            "RateLimit-Policy": f'"fixed window";"{kind}";q={limit};w={self._window}',
        }
        if left < 0:
            message = f"{limit:,} requests in {self._window} seconds are enough; wait {reset} seconds"
            raise ApiError(429, message, headers={**headers, "Retry-After": str(reset)})
        return headers
