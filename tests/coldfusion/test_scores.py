import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldfusion.scores import Outcome, bootstrap, evaluation_of, paired_differences


def outcome(task: str, correct: list[int], *, seed: int = 0, held_out: bool = True) -> Outcome:
    return Outcome(
        task=task, held_out=held_out, protocol="probe", seed=seed, correct=np.array(correct, dtype=bool)
    )


def test_a_score_is_accuracy_in_points() -> None:
    assert outcome("t", [1, 1, 0, 1]).score.score == 75.0


def test_differences_are_paired_per_example_and_averaged_over_seeds() -> None:
    before = [outcome("t", [0, 1, 1], seed=0), outcome("t", [0, 0, 1], seed=1)]
    after = [outcome("t", [1, 1, 0], seed=0), outcome("t", [1, 0, 1], seed=1)]
    assert paired_differences(after, before)["t"].tolist() == [100.0, 0.0, -50.0]


def test_a_seed_that_only_one_side_has_does_not_count() -> None:
    after = [outcome("t", [1, 1], seed=0), outcome("t", [1, 1], seed=9)]
    assert paired_differences(after, [outcome("t", [0, 1], seed=0)])["t"].tolist() == [100.0, 0.0]


def test_every_task_weighs_the_same() -> None:
    mean, _, _ = bootstrap([np.full(10, 10.0), np.full(1000, 0.0)], seed=0)
    assert mean == 5.0


def test_equal_bases_have_no_gain_and_no_interval() -> None:
    outcomes = [outcome("a", [1, 0]), outcome("b", [1, 1])]
    (gain,) = evaluation_of(outcomes, outcomes).gains
    assert (gain.mean, gain.low, gain.high, gain.excludes_zero) == (0, 0, 0, False)


def test_groups_are_kept_apart() -> None:
    before = [outcome("a", [0, 0]), outcome("b", [1, 1], held_out=False)]
    after = [outcome("a", [1, 1]), outcome("b", [0, 1], held_out=False)]
    evaluation = evaluation_of(after, before)
    held_out, contributed = (evaluation.gain("probe", held_out=h) for h in (True, False))
    assert held_out is not None and contributed is not None
    assert (held_out.mean, contributed.mean) == (100.0, -50.0)


def test_the_interval_of_one_large_task_is_that_of_a_mean() -> None:
    # 400 differences of +-100: standard error 100 / sqrt(400) = 5, so 1.96 * 5 = 9.8 on either side.
    differences = np.tile([100.0, -100.0], 200)
    mean, low, high = bootstrap([differences], seed=1)
    assert mean == 0
    # The quantile of 2,000 resamples has a standard error of 0.3.
    assert (low, high) == (pytest.approx(-9.8, abs=1.0), pytest.approx(9.8, abs=1.0))


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(0), 0
    for seed in range(200):
        effects = rng.normal(2.0, 1.0, 12)  # points, of 12 tasks; the truth is 2
        changes = [(0.1 - e / 200, 0.8, 0.1 + e / 200) for e in effects]  # got worse, the same, better
        tasks = [rng.choice([-100.0, 0.0, 100.0], 500, p=p) for p in changes]
        _, low, high = bootstrap(tasks, seed=seed)
        hits += low <= 2.0 <= high
    assert 0.92 <= hits / 200 <= 1.0


@given(
    st.lists(st.lists(st.sampled_from([-100.0, 0.0, 100.0]), min_size=1, max_size=20), min_size=1, max_size=5)
)
def test_the_interval_holds_the_mean_and_stays_in_range(tasks: list[list[float]]) -> None:
    mean, low, high = bootstrap([np.array(task) for task in tasks], seed=0)
    assert -100 <= low <= high <= 100
    assert low - 1e-3 <= mean <= high + 1e-3 or len(set(sum(tasks, []))) > 1
