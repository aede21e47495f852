"""Where Ray workers leave word of how far they are. Imports nothing heavy: it gets a process of its own."""

from __future__ import annotations


class Board:
    """An actor that keeps the newest progress of every job until somebody looks."""

    def __init__(self) -> None:
        self._news: dict[tuple[str, int], tuple[int, int]] = {}

    def put(self, job: tuple[str, int], done: int, total: int) -> None:
        """job: (call, position of the job in it)."""
        self._news[job] = (done, total)

    def take(self) -> dict[tuple[str, int], tuple[int, int]]:
        """What came since the last look."""
        news, self._news = self._news, {}
        return news
