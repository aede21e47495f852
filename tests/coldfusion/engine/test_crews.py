import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from coldfusion.engine.crews import Threads
from coldfusion.exact.scratch import scratch


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_come_in_the_order_of_the_work(threads: int) -> None:
    def task(piece: int) -> int:
        time.sleep(0.002 * (piece % 3))
        return piece * piece

    assert list(Threads(threads).run(task, range(30))) == [piece * piece for piece in range(30)]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_no_work_no_results(threads: int) -> None:
    assert list(Threads(threads).run(lambda piece: piece, [])) == []


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_only_a_few_pieces_are_taken_in_advance(threads: int) -> None:
    taken: list[int] = []

    def work() -> Iterator[int]:
        for piece in range(1000):
            taken.append(piece)
            yield piece

    results = Threads(threads).run(lambda piece: piece, work())
    assert next(results) == 0 and len(taken) <= 2 * threads + 1


def test_no_two_threads_share_their_arrays() -> None:
    both = threading.Barrier(2, timeout=10)

    def task(piece: int) -> bool:
        array = scratch("test", 1, np.int64)
        array[0] = piece
        both.wait()
        return bool(array[0] == piece)

    assert all(Threads(2).run(task, range(20)))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_first_error_ends_the_pass(threads: int) -> None:
    done: list[int] = []

    def task(piece: int) -> int:
        if piece == 5:
            raise ValueError("five")
        done.append(piece)
        return piece

    with pytest.raises(ValueError, match="five"):
        list(Threads(threads).run(task, range(1000)))
    assert len(done) < 30


def test_whoever_stops_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    results = Threads(3).run(lambda piece: piece, range(1000))
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_as_many_threads_as_cores_unless_asked() -> None:
    assert Threads().count >= 1 and Threads(3).count == 3
