"""Who does the work of a pass: this thread, or several. Results always come in the order of the work.

A crew calls a task for each piece of work. The task is a plain function; numpy and the reads below it let
go of the interpreter's lock, so threads use all cores. A crew on a cluster has the same shape.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

from coldfusion.exact.blas import one_blas_thread

W = TypeVar("W")
R = TypeVar("R")

Task = Callable[[W], R]


class Crew(Protocol):
    """Does pieces of work side by side."""

    def run(self, task: Task[W, R], work: Iterable[W]) -> Iterator[R]:
        """The results in the order of `work`, of which only a few pieces are taken in advance."""
        ...


class Threads:
    """As many threads as this process may use cores, or as asked for."""

    def __init__(self, count: int | None = None) -> None:
        self.count = count or len(os.sched_getaffinity(0))

    def run(self, task: Task[W, R], work: Iterable[W]) -> Iterator[R]:
        if self.count == 1:
            yield from map(task, work)
            return
        pending: deque[Future[R]] = deque()
        with one_blas_thread(), ThreadPoolExecutor(self.count) as pool:  # BLAS's own would fight with ours
            try:
                for piece in work:
                    pending.append(pool.submit(task, piece))
                    if len(pending) > 2 * self.count:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()
