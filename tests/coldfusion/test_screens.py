import numpy as np

from coldfusion.screens import judge
from coldfusion.stats import RoundStats
from tests.coldfusion.test_rounds import contribution


def test_nan_is_refused_and_the_honest_are_not() -> None:
    contributions = [contribution(name, i) for i, name in enumerate("abc", start=1)]
    stats = RoundStats(("a", "b", "c"), np.array([True, False, True]), np.array([1.0, np.nan, 2.0]))
    verdicts = judge(contributions, stats)
    assert [v.accepted for v in verdicts] == [True, False, True]
    assert verdicts[1].reasons == ("holds NaN or Inf",)


def test_a_delta_of_zeros_is_refused() -> None:
    stats = RoundStats(("a", "b"), np.array([True, True]), np.array([0.0, 1e-30]))
    verdicts = judge([contribution("a", 1), contribution("b", 2)], stats)
    assert verdicts[0].reasons == ("changes nothing: every number of the delta is 0",)
    assert verdicts[1].accepted


def test_every_reason_is_kept() -> None:
    stats = RoundStats(("a",), np.array([False]), np.array([np.nan]))
    screens = {"one": lambda i, s: "first", "two": lambda i, s: None, "three": lambda i, s: "second"}
    assert judge([contribution("a", 1)], stats, screens)[0].reasons == ("first", "second")
