"""A crew on Ray: the pieces of a fusion's passes, done by the workers of a cluster.

Only small things travel: what is to be done goes out once per pass, as the places that inputs are read from;
then spans go out and sums, histograms or counts come back. Every worker opens the inputs itself and writes
what it fuses where it belongs, so nothing is merged but ranges of files, and the bytes are those of one
thread. A worker that dies is replaced by Ray, which has its pieces done again: they give the same.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, TypeVar

import ray
from ray import cloudpickle
from ray.exceptions import RayError, RayTaskError

from coldfusion.engine.crews import Crew, Task
from coldfusion.errors import ColdFusionError
from coldfusion.exact.blas import one_blas_thread
from coldfusion.outputs import finish, take_left
from contributors.cluster import start_ray
from contributors.config import PoolConfig

W = TypeVar("W")
R = TypeVar("R")

BATCH = 4
"""Pieces of work that go out together: a call takes Ray about a millisecond, and a piece a few."""
RETRIES = 10
"""How many workers one batch may outlive."""


def ray_crew(address: str | None = None, *, cpus: float = 1.0) -> Crew:
    """A crew on the Ray cluster at an address ("auto": the one of this machine); None starts Ray here.

    cpus: of one worker. Ray goes on until this process ends. Inputs on a Hub that are private are read with
    the workers' own token (HF_TOKEN). Raises ConfigError where there is no cluster.
    """
    if not ray.is_initialized():
        start_ray(PoolConfig(address=address, cpus=cpus))
    return RayCrew(cpus)


@dataclass(frozen=True, slots=True)
class RayCrew:
    """Implements `coldfusion.engine.crews.Crew` on whatever Ray this process is connected to."""

    cpus: float = 1.0  # of one worker
    batch: int = BATCH

    def run(self, task: Task[W, R], work: Iterable[W]) -> Iterator[R]:
        # In a list, a reference is handed on as it is: a worker then loads the task once, not for every call.
        sent = [ray.put(cloudpickle.dumps(task))]  # type: ignore[no-untyped-call]
        name, pieces, pending = uuid.uuid4().hex, iter(work), deque[Any]()
        most = 2 * self._workers() + 1
        try:
            while batch := list(islice(pieces, self.batch)):
                pending.append(_remote(self.cpus).remote(name, sent, batch))
                if len(pending) > most:
                    yield from _results(pending.popleft())
            while pending:
                yield from _results(pending.popleft())
        finally:
            for reference in pending if ray.is_initialized() else ():
                ray.cancel(reference)

    def _workers(self) -> int:
        found = ray.cluster_resources()  # type: ignore[no-untyped-call]
        return max(1, int(found.get("CPU", 1) / self.cpus))


@dataclass(slots=True)
class _Worker:
    """What a worker process keeps from one call to the next."""

    name: str = ""
    task: Any = None

    def load(self, name: str, sent: list[Any]) -> None:
        if self.name != name:
            # The task before this one still holds the inputs that it opened, and so they are found open.
            self.task = cloudpickle.loads(ray.get(sent[0]))
            self.name = name


_worker = _Worker()


def _in_worker(name: str, sent: list[Any], batch: list[Any]) -> bytes:
    """As bytes: arrays that come out of Ray's store as they are cannot be written, and fill it up."""
    _worker.load(name, sent)
    take_left()  # of a batch that failed
    with one_blas_thread():  # bytes must not depend on how many cores a worker's machine has
        results = [_worker.task(piece) for piece in batch]
    return cloudpickle.dumps((results, take_left()))  # type: ignore[no-untyped-call,no-any-return]


@cache  # Ray sends a function out once for every time that it is made remote
def _remote(cpus: float) -> Any:
    return ray.remote(num_cpus=cpus, max_retries=RETRIES)(_in_worker)


def _results(reference: Any) -> Any:
    try:
        results, left = cloudpickle.loads(ray.get(reference))
    except RayTaskError as exc:
        if isinstance(exc.cause, Exception):
            raise exc.cause from None
        raise
    except RayError as exc:
        reason = (str(exc).splitlines() or [type(exc).__name__])[0]
        raise ColdFusionError(f"Ray gave up a piece of the work after {RETRIES} tries: {reason}") from exc
    finish(left)
    return results
