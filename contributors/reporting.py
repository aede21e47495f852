"""How long work tells whoever shows progress where it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

Report = Callable[[int, int], None]
"""Called now and then: (examples done, examples in all)."""


def unheard(done: int, total: int) -> None:
    """A report that nobody reads."""


@dataclass
class Milestones:
    """A report as plain lines: how far, how fast, how long still; at most one every `every` seconds."""

    say: Callable[[str], None]
    every: float = 15.0
    clock: Callable[[], float] = time.monotonic
    _started: float | None = field(default=None, init=False)
    _last: float = field(default=0.0, init=False)

    def __call__(self, done: int, total: int) -> None:
        now = self.clock()
        if self._started is None or done < total / 1000:
            self._started = self._last = now
        if now - self._last >= self.every or done == total:
            self._last = now
            rate = done / (now - self._started) if now > self._started else 0.0  # 0: too quick to tell
            speed = f", {rate:,.0f} examples/s" if rate else ""
            left = f", {(total - done) / rate:.0f} s left" if done < total and rate else ""
            self.say(f"fine-tuning: {done:,} of {total:,} examples{speed}{left}")
