import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldfusion.scores import Outcome, evaluation_of, gain_of, interval, paired


def outcome(
    task: str, predicted: list[float], *, seed: int = 0, held_out: bool = True, metric: str = "accuracy"
) -> Outcome:
    """Of a task whose right labels are all 1."""
    return Outcome(
        task=task,
        held_out=held_out,
        protocol="probe",
        seed=seed,
        metric=metric,
        truth=np.ones(len(predicted)),
        predicted=np.array(predicted, dtype=float),
    )


def test_a_score_is_in_the_unit_of_its_metric() -> None:
    assert outcome("t", [1, 1, 0, 1]).score.score == 75.0
    assert outcome("t", [0.5, 1.5], metric="loss").score.score == 1.0


def test_differences_are_paired_per_example_and_averaged_over_seeds() -> None:
    before = [outcome("t", [0, 1, 1], seed=0), outcome("t", [0, 0, 1], seed=1)]
    after = [outcome("t", [1, 1, 0], seed=0), outcome("t", [1, 0, 1], seed=1)]
    (task,) = paired(after, before)
    assert task.difference == pytest.approx((0 + 100 / 3) / 2)
    one_of_each = np.eye(3)
    found = dict(zip(map(tuple, task.after.T), task.differences(one_of_each), strict=True))
    assert found == {(1, 1): 100.0, (1, 0): 0.0, (0, 1): -50.0}  # by what `after` said of it, seed by seed


def test_examples_that_are_alike_are_counted_and_not_kept() -> None:
    (task,) = paired([outcome("t", [1, 0] * 50)], [outcome("t", [0, 0] * 50)])
    assert task.counts.tolist() == [50, 50] and task.difference == 50.0


def test_a_seed_that_only_one_side_has_does_not_count() -> None:
    after = [outcome("t", [1, 1], seed=0), outcome("t", [1, 1], seed=9)]
    (task,) = paired(after, [outcome("t", [0, 1], seed=0)])
    assert task.difference == 50.0
    assert gain_of(after, [outcome("other", [1, 1])], against="previous") is None


def test_every_task_weighs_the_same() -> None:
    before = [outcome("a", [0] * 10), outcome("b", [1] * 1000)]
    after = [outcome("a", [0] * 9 + [1]), outcome("b", [1] * 1000)]
    gain = gain_of(after, before, against="pretrained")
    assert gain is not None and gain.mean == 5.0


def test_equal_bases_have_no_gain_and_no_interval() -> None:
    outcomes = [outcome("a", [1, 0]), outcome("b", [1, 1])]
    (gain,) = evaluation_of(outcomes, {"previous": outcomes}).gains
    assert (gain.mean, gain.low, gain.high, gain.excludes_zero, gain.num_worse) == (0, 0, 0, False, 0)


def test_groups_and_bases_are_kept_apart() -> None:
    before = [outcome("a", [0, 0]), outcome("b", [1, 1], held_out=False)]
    after = [outcome("a", [1, 1]), outcome("b", [0, 1], held_out=False)]
    evaluation = evaluation_of(after, {"pretrained": before, "previous": after})
    found = {(gain.held_out, gain.against): gain.mean for gain in evaluation.gains}
    expected = {(True, "pretrained"): 100.0, (False, "pretrained"): -50.0}
    assert found == expected | {(True, "previous"): 0.0, (False, "previous"): 0.0}
    assert [(s.task, s.score) for s in evaluation.pretrained] == [("a", 0.0), ("b", 100.0)]


def test_a_loss_is_a_group_of_its_own_and_better_when_it_falls() -> None:
    before = [outcome("a", [0, 1]), outcome("a", [2.0, 1.0], metric="loss")]
    after = [outcome("a", [1, 1]), outcome("a", [1.0, 1.0], metric="loss")]
    evaluation = evaluation_of(after, {"pretrained": before})
    points, nats = (evaluation.gain("probe", held_out=True, unit=unit) for unit in ("points", "nats"))
    assert points is not None and nats is not None and (points.mean, nats.mean) == (50.0, 0.5)


def test_the_tasks_that_got_worse_are_counted_and_the_worst_named() -> None:
    before = [outcome(task, [1] * 10) for task in "abc"]
    after = [outcome("a", [1] * 10), outcome("b", [1] * 9 + [0]), outcome("c", [0] * 3 + [1] * 7)]
    gain = gain_of(after, before, against="previous")
    assert gain is not None and (gain.num_worse, gain.worst, gain.worst_gain) == (2, "c", -30.0)


def test_the_interval_of_one_large_task_is_that_of_a_mean() -> None:
    # 400 differences of +-100: standard error 100 / sqrt(400) = 5, so 1.96 * 5 = 9.8 on either side.
    tasks = paired([outcome("t", [1, 0] * 200)], [outcome("t", [0, 1] * 200)])
    low, high = interval(tasks, seed=1)
    # The quantile of 2,000 resamples has a standard error of 0.3.
    assert (low, high) == (pytest.approx(-9.8, abs=1.0), pytest.approx(9.8, abs=1.0))


def test_the_interval_over_tasks_is_students() -> None:
    # Tasks without noise that differ by -3, -1, 1, 3: 20 / 3 is their variance, 3.18 the quantile with 3
    # degrees of freedom, so 3.18 * sqrt(20 / 3 / 4) = 4.1, which draws from four tasks come near to.
    before = [outcome(task, [1] * 50 + [0] * 50) for task in "abcd"]
    after = [outcome(t, [1] * (50 + d) + [0] * (50 - d)) for t, d in zip("abcd", (-3, -1, 1, 3), strict=True)]
    low, high = interval(paired(after, before), seed=0)
    assert -5.5 < low < -3 and 3 < high < 5.5


@pytest.mark.parametrize("tasks", [3, 12, 30])
@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_the_interval_covers_the_truth_as_often_as_it_says(tasks: int, spread: float) -> None:
    rng, hits = np.random.default_rng(0), 0
    for seed in range(300):
        after, before = [], []
        for task in map(str, range(tasks)):
            effect = rng.normal(2.0, spread)  # points; the truth over tasks is 2
            worse, better = 0.1 - effect / 200, 0.1 + effect / 200
            changes = rng.choice(
                3, 500, p=[max(worse, 0), 1 - max(worse, 0) - max(better, 0), max(better, 0)]
            )
            after.append(outcome(task, (changes != 0).astype(float).tolist()))
            before.append(outcome(task, (changes != 2).astype(float).tolist()))
        low, high = interval(paired(after, before), seed=seed)
        hits += low <= 2.0 <= high
    assert 0.91 <= hits / 300 <= 0.98


TASKS = st.lists(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20), min_size=1, max_size=5
)


@given(TASKS)
@settings(max_examples=30, deadline=None)
def test_a_base_that_is_never_worse_is_not_found_to_be(tasks: list[list[tuple[bool, bool]]]) -> None:
    after = [outcome(str(i), [max(pair) for pair in task]) for i, task in enumerate(tasks)]
    before = [outcome(str(i), [pair[0] for pair in task]) for i, task in enumerate(tasks)]
    gain = gain_of(after, before, against="previous")
    assert gain is not None and gain.mean >= 0 and gain.high >= 0 and gain.num_worse == 0
