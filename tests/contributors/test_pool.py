import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ray.exceptions import WorkerCrashedError

from coldfusion.errors import DataError
from contributors.config import PoolConfig
from contributors.pool import Pool, RayPool, SerialPool, open_pool
from contributors.reporting import Report


@pytest.fixture(params=["serial", "ray"])
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    if request.param == "ray":
        yield request.getfixturevalue("two_cpus")
    else:
        yield SerialPool()


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    (tmp_path / "shared" / "folder").mkdir(parents=True)
    (tmp_path / "shared" / "number").write_text("10")
    (tmp_path / "shared" / "folder" / "number").write_text("200")
    return tmp_path / "shared"


def add(directory: Path, job: int, report: Report) -> int:
    report(1, 2)
    if job == 3:
        raise DataError("three is too much")
    return job + int((directory / "number").read_text()) + int((directory / "folder" / "number").read_text())


def threads(directory: Path, job: int, report: Report) -> int:
    return torch.get_num_threads()


def die(directory: Path, job: int, report: Report) -> int:
    if job == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def test_every_job_is_done_with_the_shared_directory(pool: Pool, shared: Path) -> None:
    assert dict(pool.run(add, shared, [1, 2], lambda *_: None)) == {1: 211, 2: 212}


def test_a_job_that_fails_is_a_result_and_the_others_go_on(pool: Pool, shared: Path) -> None:
    results = dict(pool.run(add, shared, [1, 3, 2], lambda *_: None))
    failure = results.pop(3)
    assert isinstance(failure, DataError) and str(failure) == "three is too much"
    assert results == {1: 211, 2: 212}


def test_no_jobs_are_no_results(pool: Pool, shared: Path) -> None:
    assert list(pool.run(add, shared, [], lambda *_: None)) == []


def test_torch_gets_as_many_threads_as_a_job_has_cpus(two_cpus: RayPool, shared: Path) -> None:
    def count(pool: Pool) -> object:
        return dict(pool.run(threads, shared, [0], lambda *_: None))[0]

    assert count(replace(two_cpus, cpus=2.0)) == count(SerialPool(threads=2)) == 2
    assert count(replace(two_cpus, cpus=0.5)) == count(SerialPool(threads=1)) == 1


def test_serial_results_come_in_order_with_their_progress(shared: Path) -> None:
    heard: list[tuple[int, int, int]] = []
    jobs = SerialPool().run(add, shared, [2, 1], lambda *news: heard.append(news))
    assert [job for job, _ in jobs] == [2, 1]
    assert heard == [(2, 1, 2), (1, 1, 2)]


def test_a_worker_that_is_killed_is_a_result_too(two_cpus: RayPool, shared: Path) -> None:
    results = dict(two_cpus.run(die, shared, [0, 1, 2], lambda *_: None))
    assert isinstance(results.pop(1), WorkerCrashedError)
    assert results == {0: 0, 2: 2}


def test_a_pool_that_is_asked_for_by_name() -> None:
    with open_pool(PoolConfig(backend="serial", cpus=2.0)) as pool:
        assert pool == SerialPool(threads=2)
