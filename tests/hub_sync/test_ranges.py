import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from coldfusion.errors import HubUnavailable
from coldfusion.places import part
from hub_sync import ranges
from hub_sync.ranges import Fetched, Pieces, RangedFile

DATA = bytes(random.Random(0).randbytes(1050))


class Remote:
    """A file of 1,050 bytes that counts who asks for what."""

    def __init__(self, wait: float = 0.0) -> None:
        self.asked: list[int] = []
        self.failures: list[Exception] = []
        self.wait = wait

    def fetch(self, start: int, stop: int) -> Fetched:
        self.asked.append(start)
        time.sleep(self.wait)
        if self.failures:
            raise self.failures.pop()
        return bytearray(DATA[start:stop]), len(DATA)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "PIECE", 100)


def settled() -> None:
    for thread in threading.enumerate():
        if thread.name == "ahead":
            thread.join()


def test_many_small_reads_are_few_requests() -> None:
    remote = Remote()
    file = RangedFile("x", remote.fetch, Pieces(3))
    read = b"".join(part(file, at, 7) for at in range(0, 1050, 7))
    assert read == DATA and file.size == 1050
    assert sorted(remote.asked) == list(range(0, 1050, 100))


def test_the_next_piece_is_on_its_way_before_it_is_wanted() -> None:
    remote = Remote()
    file = RangedFile("x", remote.fetch, Pieces(3))
    part(file, 100, 1)
    settled()
    assert remote.asked == [0, 100, 200] or remote.asked == [0, 200, 100]
    assert part(file, 250, 10) == DATA[250:260]
    settled()
    assert sorted(remote.asked) == [0, 100, 200, 300]


def test_a_jump_fetches_nothing_ahead() -> None:
    remote = Remote()
    file = RangedFile("x", remote.fetch, Pieces(3))
    assert part(file, 580, 40) == DATA[580:620]
    settled()
    assert set(remote.asked) == {0, 500, 600, 700}  # 600 follows 500, so 700 may be wanted next


def test_threads_that_want_one_piece_wait_for_one_fetch() -> None:
    remote = Remote(wait=0.05)
    file = RangedFile("x", remote.fetch, Pieces(3))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda at: part(file, at, 5), range(300, 340, 5)))
    assert b"".join(found) == DATA[300:340] and remote.asked == [0, 300]


def test_memory_is_bounded_however_many_files_there_are() -> None:
    pieces, remote = Pieces(3), Remote()
    files = [RangedFile(f"{i}", remote.fetch, pieces) for i in range(20)]
    for at in (0, 512, 90, 1000):
        assert all(part(file, at, 20) == DATA[at : at + 20] for file in files)
        settled()
        assert len(pieces._held) <= 3 and len(pieces._left) <= 3


def test_a_piece_goes_with_its_last_byte() -> None:
    pieces = Pieces(3)
    file = RangedFile("x", Remote().fetch, pieces)
    part(file, 0, 99)
    assert len(pieces._held) == 1
    part(file, 99, 1)
    assert len(pieces._held) == 0 and len(pieces._left) == 0


def test_a_failure_is_told_and_the_next_who_asks_tries_again() -> None:
    remote = Remote()
    file = RangedFile("x", remote.fetch, Pieces(3))
    remote.failures = [HubUnavailable("away")]
    with pytest.raises(HubUnavailable, match="away"):
        part(file, 300, 10)
    assert part(file, 300, 10) == DATA[300:310]


@pytest.mark.parametrize("position", [1045, 1050, 5000])
def test_past_the_end_is_an_error(position: int) -> None:
    file = RangedFile("x", Remote().fetch, Pieces(3))
    with pytest.raises(EOFError):
        part(file, position, 10)
