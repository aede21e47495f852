import threading

import numpy as np
import pytest

from coldfusion.exact import blas
from coldfusion.exact.blas import one_blas_thread


class Counted:
    """A BLAS of so many threads."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def get(self) -> int:
        return self.threads

    def set(self, threads: int) -> None:
        self.threads = threads


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    found = Counted(4)
    monkeypatch.setattr(blas, "_threads", (found.get, found.set))
    return found


def test_one_thread_inside_and_as_before_outside(counted: Counted) -> None:
    with one_blas_thread():
        assert counted.threads == 1
    assert counted.threads == 4


def test_whoever_leaves_first_takes_nothing_from_who_is_still_inside(counted: Counted) -> None:
    entered, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with one_blas_thread():
            entered.set()
            leave.wait()

    other = threading.Thread(target=stay)
    with one_blas_thread():
        other.start()
        entered.wait()
    assert counted.threads == 1
    leave.set()
    other.join()
    assert counted.threads == 4


def test_an_error_inside_is_left_behind(counted: Counted) -> None:
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        1 / 0  # noqa: B018
    assert counted.threads == 4


def test_a_blas_that_cannot_be_told_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "_threads", None)
    with one_blas_thread():
        assert np.linalg.norm([3.0, 4.0]) == 5
