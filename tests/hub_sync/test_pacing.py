from hub_sync.pacing import Pacer, kind_of


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def pacer(clock: Clock) -> Pacer:
    return Pacer(sleep=clock.sleep, clock=lambda: clock.now)


def test_nobody_waits_while_calls_are_left() -> None:
    clock = Clock()
    paced = pacer(clock)
    for left in (500, 3):
        paced.before("https://hub/api/models/a/b")
        paced.after("https://hub/api/models/a/b", {"ratelimit": f'"api";r={left};t=55'})
    paced.before("https://hub/api/models/a/b")
    assert clock.now == 100.0


def test_the_next_call_waits_for_the_next_window_when_few_are_left() -> None:
    clock = Clock()
    paced = pacer(clock)
    paced.after("https://hub/api/models/a/b", {"ratelimit": '"api";r=2;t=55'})
    paced.before("https://hub/a/b/resolve/main/x")  # files have a limit of their own
    assert clock.now == 100.0
    paced.before("https://hub/api/models/a/b")
    assert clock.now == 156.0  # and one second, since the Hub rounds
    paced.before("https://hub/api/models/a/b")
    assert clock.now == 156.0


def test_calls_are_counted_by_kind() -> None:
    paced = pacer(Clock())
    for url in ("https://hub/api/x", "https://hub/a/b/resolve/main/x", "https://hub/api/y"):
        paced.before(url)
    assert paced.calls == {"api": 2, "resolve": 1} and paced.total == 3


def test_an_answer_that_says_nothing_changes_nothing() -> None:
    clock = Clock()
    paced = pacer(clock)
    for headers in ({}, {"ratelimit": "soon"}):
        paced.after("https://hub/api/x", headers)
    paced.before("https://hub/api/x")
    assert clock.now == 100.0 and kind_of("https://hub/api/x") == "api"
