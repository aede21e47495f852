import dataclasses
from pathlib import Path

import pytest

from coldfusion.errors import ConfigError, RoundError
from contributors.config import ProbeConfig, TrainingConfig, refuse_held_out
from contributors.evaluation import (
    FINE_TUNE,
    PROBE,
    Evaluator,
    Scored,
    ScoreJob,
    Task,
    check_task,
    model_digest,
)
from contributors.pool import SerialPool
from experiments.smallbase import make_base
from tests.tasks import sentences, write_task


@pytest.fixture
def tasks(tmp_path: Path) -> list[Task]:
    found = []
    for seed, name in enumerate(("seen", "unseen")):
        folder = write_task(tmp_path / name, seed=seed)
        train, test = str(folder / "train.csv"), str(folder / "test.csv")
        found.append(check_task(name, train, test, held_out=name == "unseen"))
    return found


@pytest.fixture
def scored() -> list[ScoreJob]:
    return []


@pytest.fixture
def evaluator(tasks: list[Task], scored: list[ScoreJob], tiny_base: Path, tmp_path: Path) -> Evaluator:
    return Evaluator(
        pool=SerialPool(),
        tasks=tasks,
        seeds={PROBE: [0], FINE_TUNE: [0, 1]},
        probe=ProbeConfig(max_length=16, bf16=False),
        training=TrainingConfig(lr=3e-3, epochs=15, batch_size=8, max_length=16, bf16=False),
        cache=tmp_path / "scores",
        pretrained=tiny_base,
        on_progress=lambda *_: None,
        on_scored=lambda job, _: scored.append(job),
    )


def another_base(folder: Path) -> Path:
    make_base(folder, sentences(200, seed=0)[0], seed=7, hidden=16, vocabulary=300)
    return folder


def test_the_fine_tune_score_is_for_held_out_tasks_alone(evaluator: Evaluator) -> None:
    jobs = {(job.task.name, job.protocol, job.seed) for job in evaluator.jobs([PROBE, FINE_TUNE])}
    assert jobs == {
        ("seen", PROBE, 0),
        ("unseen", PROBE, 0),
        ("unseen", FINE_TUNE, 0),
        ("unseen", FINE_TUNE, 1),
    }


def test_large_tasks_come_first(evaluator: Evaluator, tasks: list[Task]) -> None:
    sizes = [job.task.characters for job in evaluator.jobs([PROBE])]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 40 * len("it is")


def test_the_pretrained_model_has_no_gain_on_itself(evaluator: Evaluator, tiny_base: Path) -> None:
    evaluation = evaluator.evaluate(tiny_base, evaluator.jobs([PROBE]))
    assert [gain.mean for gain in evaluation.gains] == [0.0, 0.0]
    assert {score.num_examples for score in evaluation.scores} == {20}


def test_a_fine_tuned_base_is_scored_on_the_test_split(evaluator: Evaluator, tiny_base: Path) -> None:
    evaluation = evaluator.evaluate(tiny_base, evaluator.jobs([FINE_TUNE]))
    assert len(evaluation.scores) == 2
    assert evaluation.mean_score(FINE_TUNE, held_out=True) > 60  # the label is one word


def test_nothing_is_scored_twice(
    evaluator: Evaluator, scored: list[ScoreJob], tiny_base: Path, tmp_path: Path
) -> None:
    jobs, other = evaluator.jobs([PROBE]), another_base(tmp_path / "other")
    first = evaluator.evaluate(other, jobs)
    assert len(scored) == 4  # two tasks on two bases
    assert evaluator.missing(other, jobs) == []
    again = dataclasses.replace(evaluator)  # as after a restart
    assert again.evaluate(other, jobs) == first and len(scored) == 4


def test_other_settings_are_other_scores(evaluator: Evaluator, tiny_base: Path) -> None:
    evaluator.evaluate(tiny_base, evaluator.jobs([PROBE]))
    changed = dataclasses.replace(evaluator, probe=ProbeConfig(max_length=8, bf16=False))
    assert len(changed.missing(tiny_base, changed.jobs([PROBE]))) == 2


def test_a_score_that_cannot_be_taken_names_the_task(evaluator: Evaluator, tiny_base: Path) -> None:
    Path(evaluator.tasks[0].train).unlink()
    with pytest.raises(RoundError, match="cannot score seen: .*train.csv: no such file"):
        evaluator.evaluate(tiny_base, evaluator.jobs([PROBE]))


def test_a_digest_is_of_the_contents(tmp_path: Path, tiny_base: Path) -> None:
    def task(name: str, seed: int) -> Task:
        folder = write_task(tmp_path / name, seed=seed)
        return check_task(name, str(folder / "train.csv"), str(folder / "test.csv"), held_out=True)

    assert task("a", 1).digest == task("b", 1).digest != task("c", 2).digest
    assert model_digest(tiny_base) != model_digest(another_base(tmp_path / "other"))


def test_a_held_out_task_cannot_be_contributed() -> None:
    with pytest.raises(ConfigError, match="held-out task 'b' is among the contributed ones"):
        refuse_held_out(["a", "b"], ["b", "c"])


def test_a_scored_job_knows_when_it_was_at_work(evaluator: Evaluator, tiny_base: Path) -> None:
    seen: list[Scored] = []
    watching = dataclasses.replace(evaluator, on_scored=lambda _, result: seen.append(result))
    watching.evaluate(tiny_base, watching.jobs([PROBE]))
    assert all(result.interval[0] < result.interval[1] and result.num_examples == 60 for result in seen)
