from coldfusion.credits import Credit, correlation, credits_of
from coldfusion.records import Entry, Gain, RoundRecord, Worth
from tests.helpers import entry


def worth(name: str, low: float, mean: float, high: float, estimate: float | None = None) -> Worth:
    gain = Gain(protocol="probe", held_out=True, mean=mean, low=low, high=high, num_tasks=3)
    return Worth(contributor=name, gain=gain, estimate=estimate)


def record(index: int, entries: list[Entry], worths: list[Worth]) -> RoundRecord:
    return RoundRecord(
        round_index=index, parent=None, fusing=None, entries=tuple(entries), worths=tuple(worths)
    )


RECORDS = [
    record(1, [entry("ann"), entry("bob")], [worth("ann", 0.1, 1.0, 2.0, 0.25), worth("bob", -3, -2, -1)]),
    record(2, [entry("ann"), entry("bob", "late")], [worth("ann", -1.0, 0.5, 2.0, 0.5)]),
    record(3, [entry("cat")], [Worth(contributor="cat", estimate=0.125)]),
]


def test_credit_is_the_sum_of_what_leaving_out_took_away() -> None:
    ann = Credit(
        contributor="ann",
        num_fused=2,
        num_refused=0,
        num_measured=2,
        worth=1.5,
        num_helped=1,
        num_hurt=0,
        estimate=0.75,
    )
    assert credits_of(RECORDS)[0] == ann


def test_who_was_only_estimated_has_no_points_and_who_hurt_comes_last() -> None:
    _, cat, bob = credits_of(RECORDS)
    assert (cat.contributor, cat.num_measured, cat.worth, cat.estimate) == ("cat", 0, 0.0, 0.125)
    assert (bob.num_fused, bob.num_refused, bob.worth, bob.num_hurt, bob.estimate) == (1, 1, -2.0, 1, None)


def test_a_correlation_needs_three_that_differ() -> None:
    one, two, three = (worth("c", mean - 1, mean, mean + 1, mean / 10) for mean in (1.0, 2.0, 3.0))
    assert correlation([one, two]) is None
    assert correlation([worth("c", 0, 1, 2, estimate) for estimate in (0.1, 0.2, 0.3)]) is None
    assert correlation([one, two, three, Worth(contributor="d", estimate=5.0)]) == 1.0
    turned = [worth("c", mean - 1, mean, mean + 1, -mean) for mean in (1.0, 2.0, 3.0)]
    assert correlation(turned) == -1.0
