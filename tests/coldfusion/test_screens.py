import numpy as np

from coldfusion.screens import judge
from coldfusion.stats import RoundStats
from tests.coldfusion.test_rounds import contribution


def of(norms: dict[str, float]) -> RoundStats:
    """The statistics of deltas of one number each."""
    values = np.array(list(norms.values()))
    finite = np.isfinite(values)
    known = np.where(finite, values, 0.0)
    return RoundStats(tuple(norms), finite, known, np.diag(known**2))


def test_nan_is_refused_and_the_honest_are_not() -> None:
    contributions = [contribution(name, i) for i, name in enumerate("abc", start=1)]
    stats = of({"a": 1.0, "b": np.nan, "c": 2.0})
    verdicts = judge(contributions, stats)
    assert [v.accepted for v in verdicts] == [True, False, True]
    assert verdicts[1].reasons == ("holds NaN or Inf",)


def test_a_delta_of_zeros_is_refused() -> None:
    stats = of({"a": 0.0, "b": 1e-30})
    verdicts = judge([contribution("a", 1), contribution("b", 2)], stats)
    assert verdicts[0].reasons == ("changes nothing: every number of the delta is 0",)
    assert verdicts[1].accepted


def test_every_reason_is_kept() -> None:
    stats = of({"a": np.nan})
    screens = {"one": lambda i, s: "first", "two": lambda i, s: None, "three": lambda i, s: "second"}
    assert judge([contribution("a", 1)], stats, screens)[0].reasons == ("first", "second")


def test_a_number_that_no_sum_can_hold_is_refused() -> None:
    verdicts = judge([contribution("a", 1), contribution("b", 2)], of({"a": 1e5, "b": 1.0}))
    assert verdicts[0].reasons == ("changes a number by 1e+05, more than 32,768",)
    assert verdicts[1].accepted


def test_who_changes_a_number_ever_so_little_is_not_told_that_it_is_0() -> None:
    tiny = RoundStats(("a",), np.ones(1, bool), np.array([2.0**-149]), np.zeros((1, 1)), np.zeros(1))
    assert judge([contribution("a", 1)], tiny)[0].accepted
