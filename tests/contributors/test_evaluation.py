import dataclasses
from pathlib import Path

import pytest

from coldfusion.errors import ConfigError, RoundError
from contributors.config import ProbeConfig, refuse_held_out
from contributors.evaluation import Evaluator, model_digest, others
from contributors.jobs import Job, Scored
from contributors.pool import SerialPool
from contributors.scoring import PROBE, Protocol, jobs_of
from contributors.tasks import Task, check_task
from experiments.smallbase import make_base
from tests.tasks import sentences, write_task

PROBED = Protocol(PROBE, (0,), ProbeConfig(max_length=16, bf16=False))


@pytest.fixture
def tasks(tmp_path: Path) -> list[Task]:
    found = []
    for seed, name in enumerate(("seen", "unseen")):
        folder = write_task(tmp_path / name, seed=seed)
        train, test = str(folder / "train.csv"), str(folder / "test.csv")
        found.append(check_task(name, train, test, held_out=name == "unseen"))
    return found


@pytest.fixture
def scored() -> list[Job]:
    return []


@pytest.fixture
def evaluator(scored: list[Job], tmp_path: Path) -> Evaluator:
    return Evaluator(
        pool=SerialPool(), cache=tmp_path / "scores", on_scored=lambda job, _: scored.append(job)
    )


def another_base(folder: Path) -> Path:
    make_base(folder, sentences(200, seed=0)[0], seed=7, hidden=16, vocabulary=300)
    return folder


def test_the_pretrained_model_has_no_gain_on_itself(
    evaluator: Evaluator, tasks: list[Task], tiny_base: Path
) -> None:
    evaluation = evaluator.evaluate(tiny_base, jobs_of(tasks, [PROBED]), others(tiny_base, tiny_base))
    assert [gain.mean for gain in evaluation.gains] == [0.0] * 4
    assert {gain.against for gain in evaluation.gains} == {"pretrained", "previous"}
    assert {score.num_examples for score in evaluation.scores} == {20}


def test_nothing_is_scored_twice(
    evaluator: Evaluator, tasks: list[Task], scored: list[Job], tiny_base: Path, tmp_path: Path
) -> None:
    jobs, other = jobs_of(tasks, [PROBED]), another_base(tmp_path / "other")
    first = evaluator.evaluate(other, jobs, others(tiny_base, None))
    assert len(scored) == 4  # two tasks on two bases
    assert evaluator.missing(other, jobs) == []
    again = dataclasses.replace(evaluator)  # as after a restart
    assert again.evaluate(other, jobs, others(tiny_base, tiny_base)).scores == first.scores
    assert len(scored) == 4


def test_another_metric_of_the_same_task_is_not_another_score(
    evaluator: Evaluator, tasks: list[Task], scored: list[Job], tiny_base: Path
) -> None:
    more = [dataclasses.replace(task, metrics=("accuracy", "loss", "spearman")) for task in tasks[:1]]
    evaluator.outcomes(tiny_base, jobs_of(tasks[:1], [PROBED]))
    found = evaluator.outcomes(tiny_base, jobs_of(more, [PROBED]))
    assert [o.metric for o in found] == ["accuracy", "loss", "spearman"] and len(scored) == 1


def test_other_settings_are_other_scores(evaluator: Evaluator, tasks: list[Task], tiny_base: Path) -> None:
    evaluator.outcomes(tiny_base, jobs_of(tasks, [PROBED]))
    shorter = Protocol(PROBE, (0,), ProbeConfig(max_length=8, bf16=False))
    assert len(evaluator.missing(tiny_base, jobs_of(tasks, [shorter]))) == 2


def test_a_score_that_cannot_be_taken_names_the_task(
    evaluator: Evaluator, tasks: list[Task], tiny_base: Path
) -> None:
    Path(tasks[0].train.source).unlink()
    with pytest.raises(RoundError, match="cannot score seen .probe, seed 0.: .*train.csv: no such file"):
        evaluator.outcomes(tiny_base, jobs_of(tasks, [PROBED]))


def test_a_digest_is_of_the_contents(tmp_path: Path, tiny_base: Path) -> None:
    def task(name: str, seed: int) -> Task:
        folder = write_task(tmp_path / name, seed=seed)
        return check_task(name, str(folder / "train.csv"), str(folder / "test.csv"), held_out=True)

    assert task("a", 1).digest == task("b", 1).digest != task("c", 2).digest
    assert model_digest(tiny_base) != model_digest(another_base(tmp_path / "other"))


def test_a_held_out_task_cannot_be_contributed() -> None:
    with pytest.raises(ConfigError, match="held-out task 'b' is among the contributed ones"):
        refuse_held_out(["a", "b"], ["b", "c"])


def test_a_scored_job_knows_when_it_was_at_work(
    evaluator: Evaluator, tasks: list[Task], tiny_base: Path
) -> None:
    seen: list[Scored] = []
    watching = dataclasses.replace(evaluator, on_scored=lambda _, result: seen.append(result))
    watching.outcomes(tiny_base, jobs_of(tasks, [PROBED]))
    assert all(result.interval[0] < result.interval[1] and result.num_examples == 60 for result in seen)
