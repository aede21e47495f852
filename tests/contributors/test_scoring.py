from pathlib import Path

import numpy as np
import pytest
from scipy.stats import pearsonr

from coldfusion.errors import ConfigError
from contributors.config import ProbeConfig, TrainingConfig
from contributors.data import Scale
from contributors.reporting import unheard
from contributors.scoring import (
    FEW_SHOT,
    FINE_TUNE,
    HEAD,
    PROBE,
    Predictions,
    Protocol,
    ScoreJob,
    jobs_of,
    number_predictions,
    predictions_of,
    score,
)
from contributors.tasks import Task, check_task
from tests.tasks import graded, write_csv, write_task

TRAINING = TrainingConfig(lr=3e-3, epochs=15, batch_size=8, max_length=16, bf16=False)
SETTINGS = {
    PROBE: ProbeConfig(max_length=16, bf16=False),
    HEAD: TrainingConfig(lr=0.1, epochs=15, batch_size=8, max_length=16, bf16=False),
    FEW_SHOT: TrainingConfig(lr=3e-3, epochs=30, batch_size=8, max_length=16, max_examples=24, bf16=False),
    FINE_TUNE: TRAINING,
}


FITTING = ("spearman", "pearson", "loss")
"""Metrics of numbers."""


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    folder = write_task(tmp_path_factory.mktemp("task"), seed=1, train=200, test=60)
    return check_task("task", str(folder / "train.csv"), str(folder / "test.csv"), held_out=True)


def job(task: Task, protocol: str, seed: int = 0) -> ScoreJob:
    return ScoreJob(task=task, protocol=protocol, seed=seed, settings=SETTINGS[protocol])


@pytest.mark.parametrize("protocol", SETTINGS)
def test_every_protocol_learns_a_task_whose_label_is_one_word(
    tiny_base: Path, task: Task, protocol: str
) -> None:
    found = score(tiny_base, job(task, protocol), unheard)
    assert [outcome.score.score > 60 for outcome in job(task, protocol).outcomes(found.kept)] == [True]
    assert found.kept["truth"].shape == found.kept["losses"].shape == (60,)


def test_the_same_seed_gives_the_same_score(tiny_base: Path, task: Task) -> None:
    found = [score(tiny_base, job(task, FEW_SHOT, seed), unheard).kept["losses"] for seed in (0, 0, 1)]
    assert found[0].tobytes() == found[1].tobytes() != found[2].tobytes()


def test_predictions_by_hand() -> None:
    made = predictions_of(np.log([[1.0, 3.0], [8.0, 2.0]]), np.array([1, 1]))
    assert made.labels.tolist() == [1, 0]
    np.testing.assert_allclose(made.values, [0.75, 0.2])  # 0 * 1/4 + 1 * 3/4
    np.testing.assert_allclose(made.losses, [-np.log(0.75), -np.log(0.2)])


def test_predictions_of_numbers_by_hand() -> None:
    made = number_predictions(np.array([1.0, 5.0]), np.array([1.0, 2.0]), Scale(3.0, 2.0))
    assert made.values.tolist() == [1.0, 5.0] and made.labels.size == 0
    assert made.losses.tolist() == [0.0, (3 / 2) ** 2 / 2]


@pytest.mark.parametrize("protocol", [PROBE, FINE_TUNE])
def test_a_task_whose_labels_are_numbers_is_scored_by_correlation_and_loss(
    tiny_base: Path, tmp_path: Path, protocol: str
) -> None:
    paths = [
        write_csv(tmp_path / f"{seed}.csv", ["text", "label"], list(zip(*graded(n, seed=seed), strict=True)))
        for seed, n in ((1, 100), (2, 40))
    ]
    task = check_task("grades", paths[0], paths[1], held_out=True)
    assert task.metrics == ("spearman",)
    made = Predictions(**score(tiny_base, job(task, protocol), unheard).kept)
    scores = {name: made.outcome(job(task, protocol), name).score.score for name in FITTING}
    assert scores["spearman"] > 40 and scores["pearson"] > 50
    assert scores["loss"] < 0.4  # 0.5 is what the labels' mean costs
    assert scores["pearson"] == pytest.approx(100 * pearsonr(made.truth, made.values).statistic, abs=1e-3)
    with pytest.raises(ConfigError, match="task 'grades': accuracy is not of its labels, which are numbers"):
        check_task("grades", paths[0], paths[1], held_out=True, metrics=["loss", "accuracy"])


def test_a_label_that_can_not_be_is_no_infinity_of_arithmetic() -> None:
    made = predictions_of(np.array([[1e4, -1e4]]), np.array([1]))
    assert made.losses.tolist() == [2e4] and made.values.tolist() == [0.0]


def test_only_probes_are_for_contributed_tasks_and_large_tasks_come_first(tmp_path: Path) -> None:
    tasks = []
    for name, size in (("small", 10), ("seen", 20), ("large", 40)):
        folder = write_task(tmp_path / name, seed=0, train=size)
        splits = (str(folder / f"{split}.csv") for split in ("train", "test"))
        tasks.append(check_task(name, *splits, held_out=name != "seen"))
    protocols = [Protocol(PROBE, (0,), SETTINGS[PROBE]), Protocol(FINE_TUNE, (0, 1), TRAINING)]
    found = [(one.protocol, one.task.name, one.seed) for one in jobs_of(tasks, protocols)]
    assert found == [
        *((PROBE, name, 0) for name in ("large", "seen", "small")),
        *((FINE_TUNE, name, seed) for name in ("large", "small") for seed in (0, 1)),
    ]


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown protocol 'zero-shot'; known: probe, head"):
        Protocol("zero-shot", (0,), TRAINING)
    with pytest.raises(ConfigError, match="trained 'body' is not one of all, head"):
        TrainingConfig(trained="body")
