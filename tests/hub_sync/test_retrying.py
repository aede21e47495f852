from collections.abc import Callable

import pytest

from coldfusion.errors import HubUnavailable, NotOnHub
from hub_sync.retrying import Patience


class Waits(list[float]):
    def sleep(self, seconds: float) -> None:
        self.append(seconds)


def failing(times: int, *, retry_after: float | None = None) -> tuple[Callable[[], str], list[int]]:
    """A call that fails so many times and then answers, and the list of its tries."""
    tries: list[int] = []

    def call() -> str:
        tries.append(len(tries))
        if len(tries) <= times:
            raise HubUnavailable("away", retry_after=retry_after)
        return "here"

    return call, tries


def test_a_read_is_repeated_with_longer_and_longer_waits() -> None:
    waits = Waits()
    call, tries = failing(3)
    assert Patience(sleep=waits.sleep).read(call) == "here"
    assert len(tries) == 4 and len(waits) == 3
    assert all(0.5 * d <= wait <= d for wait, d in zip(waits, (1, 2, 4), strict=True))


def test_patience_has_an_end() -> None:
    call, tries = failing(99)
    with pytest.raises(HubUnavailable):
        Patience(attempts=5, sleep=lambda _: None).read(call)
    assert len(tries) == 5


def test_the_hub_is_given_the_time_that_it_asks_for() -> None:
    waits = Waits()
    call, _ = failing(1, retry_after=90)
    Patience(longest=1, sleep=waits.sleep).read(call)
    assert waits == [90]


def test_who_is_asked_to_wait_for_very_long_gives_up_and_says_so() -> None:
    call, tries = failing(1, retry_after=3600)
    with pytest.raises(HubUnavailable) as caught:
        Patience(sleep=lambda _: None).read(call)
    assert len(tries) == 1 and caught.value.retry_after == 3600


def test_other_errors_are_not_waited_out() -> None:
    def call() -> None:
        raise NotOnHub("no such repo")

    with pytest.raises(NotOnHub):
        Patience(sleep=lambda _: pytest.fail("waited")).read(call)


def test_a_write_that_landed_is_not_repeated() -> None:
    call, tries = failing(99)
    assert Patience(sleep=lambda _: None).write(call, lambda: "landed") == "landed"
    assert len(tries) == 1


def test_a_write_that_did_not_land_is_repeated_after_a_look() -> None:
    call, tries = failing(2)
    looks: list[int] = []
    assert Patience(sleep=lambda _: None).write(call, lambda: looks.append(1)) == "here"  # type: ignore[func-returns-value]
    assert len(tries) == 3 and len(looks) == 2


def test_a_write_that_goes_well_is_not_looked_for() -> None:
    call, _ = failing(0)
    assert Patience().write(call, lambda: pytest.fail("looked")) == "here"
