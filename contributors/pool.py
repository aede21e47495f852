"""Where work runs: here, one job after another, or as Ray tasks on this machine or a cluster.

Both backends have one signature and give the same results; only the order in which these come differs. A job
that fails is a result (its exception), not the end of the others.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError, RayTaskError

from contributors.board import Board
from contributors.cluster import start_ray
from contributors.config import PoolConfig
from contributors.devices import limit_threads
from contributors.reporting import Report

J = TypeVar("J")
R = TypeVar("R")

POLL = 0.5  # seconds between two looks at what the workers report


class Pool(Protocol):
    """Runs jobs that all read one directory: work(directory, job, where to report progress) -> result."""

    def run(
        self,
        work: Callable[[Path, J, Report], R],
        directory: Path,
        jobs: Sequence[J],
        on_progress: Callable[[J, int, int], None],
    ) -> Iterator[tuple[J, R | Exception]]:
        """Every job with its result or what it failed with, as they are finished."""


@dataclass(frozen=True, slots=True)
class SerialPool:
    """One job after another, in this process, in order."""

    threads: int = 1

    def run(
        self,
        work: Callable[[Path, J, Report], R],
        directory: Path,
        jobs: Sequence[J],
        on_progress: Callable[[J, int, int], None],
    ) -> Iterator[tuple[J, R | Exception]]:
        limit_threads(self.threads)
        for job in jobs:
            try:
                result: R | Exception = work(directory, job, partial(on_progress, job))
            except Exception as exc:
                result = exc
            yield job, result


@dataclass(frozen=True, slots=True)
class RayPool:
    """Ray tasks, in the order of completion.

    The directory travels through the object store, once per call.
    """

    board: Any  # handle of the actor that hears the workers' progress
    cpus: float = 1.0
    gpus: float = 0.0

    def run(
        self,
        work: Callable[[Path, J, Report], R],
        directory: Path,
        jobs: Sequence[J],
        on_progress: Callable[[J, int, int], None],
    ) -> Iterator[tuple[J, R | Exception]]:
        call, shared, threads = uuid.uuid4().hex, ray.put(_pack(directory)), max(1, int(self.cpus))
        # A worker that dies takes its job with it: another try would most likely die the same way.
        remote: Any = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=0)(_in_worker)
        pending = {
            remote.remote(work, shared, job, _Reporter(self.board, (call, i)), threads): i
            for i, job in enumerate(jobs)
        }
        asked = self.board.take.remote()
        while pending:
            done, _ = ray.wait(list(pending), num_returns=1, timeout=POLL)
            if ray.wait([asked], timeout=0)[0]:
                for (of_call, i), (seen, total) in ray.get(asked).items():
                    if of_call == call:
                        on_progress(jobs[i], seen, total)
                asked = self.board.take.remote()
            for reference in done:
                yield jobs[pending.pop(reference)], _result(reference)


@dataclass(frozen=True, slots=True)
class _Reporter:
    """A worker's line to the board. It sends and does not wait for an answer."""

    board: Any
    job: tuple[str, int]

    def __call__(self, done: int, total: int) -> None:
        self.board.put.remote(self.job, done, total)


@contextmanager
def open_pool(config: PoolConfig) -> Iterator[Pool]:
    """The pool that a config asks for; Ray is started before and stopped after, unless it runs already."""
    if config.backend == "serial":
        yield SerialPool(max(1, int(config.cpus)))
        return
    started = not ray.is_initialized()
    if started:
        start_ray(config)
    try:
        yield RayPool(ray.remote(num_cpus=0)(Board).remote(), config.cpus, config.gpus)
    finally:
        if started:
            ray.shutdown()


def _in_worker(
    work: Callable[[Path, Any, Report], R],
    shared: dict[str, NDArray[np.uint8]],
    job: Any,
    report: Report,
    threads: int,
) -> R:
    limit_threads(threads)
    with tempfile.TemporaryDirectory(prefix="coldfusion-") as directory:
        _unpack(shared, Path(directory))
        return work(Path(directory), job, report)


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except RayTaskError as exc:
        return exc.cause if isinstance(exc.cause, Exception) else exc
    except RayError as exc:  # the worker itself died: killed, or out of memory
        return exc


def _pack(directory: Path) -> dict[str, NDArray[np.uint8]]:
    """The files of a directory as arrays, which Ray's object store hands to every worker without copying."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {path.relative_to(directory).as_posix(): np.fromfile(path, dtype=np.uint8) for path in files}


def _unpack(files: dict[str, NDArray[np.uint8]], into: Path) -> None:
    for name, data in files.items():
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        data.tofile(into / name)
