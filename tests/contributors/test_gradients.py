from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from coldfusion.checkpoint import Checkpoint
from coldfusion.errors import RoundError
from contributors.config import ProbeConfig
from contributors.data import load_task
from contributors.encoding import encode
from contributors.evaluation import Evaluator, assessing
from contributors.gradients import gradient, gradient_of, write_gradient
from contributors.models import Classifier, load_body, load_tokenizer
from contributors.pool import SerialPool
from contributors.reporting import unheard
from contributors.scoring import PROBE, Protocol, ScoreJob, jobs_of
from contributors.tasks import Task, check_task, validation_of
from experiments.smallbase import make_base
from tests.tasks import sentences, write_task

SETTINGS = ProbeConfig(max_length=16, bf16=False)
PROBED = Protocol(PROBE, (0,), SETTINGS)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[Task]:
    found = []
    for seed, name in enumerate(("one", "two")):
        folder = write_task(tmp_path_factory.mktemp("tasks") / name, seed=seed)
        found.append(check_task(name, str(folder / "train.csv"), str(folder / "test.csv"), held_out=True))
    return found


@pytest.fixture(scope="module")
def jobs(tasks: list[Task]) -> list[ScoreJob]:
    return jobs_of([validation_of(task) for task in tasks], [PROBED])


def test_the_gradient_is_the_slope_of_the_mean_loss(tasks: list[Task], tiny_base: Path) -> None:
    tokenizer = load_tokenizer(tiny_base)
    classifier = Classifier(load_body(tiny_base), num_labels=2, pooling="mean", dropout=0.5, seed=3).double()
    rows = encode(load_task(tasks[0].train, tasks[0].test)[1], tokenizer, max_length=16)
    names = tokenizer.model_input_names
    inputs = dict(tokenizer.pad({name: rows[name] for name in names}, return_tensors="pt"))

    def loss(step: float) -> float:
        with torch.no_grad():
            for name, parameter in classifier.body.named_parameters():
                if name in found:
                    parameter += step * torch.from_numpy(found[name])
            return float(classifier(labels=torch.tensor(rows["labels"]), **inputs)["loss"])

    found = gradient_of(classifier, rows, tokenizer, unheard)
    square = sum(np.square(values, dtype=np.float64).sum() for values in found.values())
    ahead, back = loss(1e-3), loss(-2e-3)
    assert (ahead - back) / 2e-3 == pytest.approx(square, rel=1e-3)


def test_what_is_written_is_the_mean_over_tasks_by_the_names_of_the_base(
    jobs: list[ScoreJob], tiny_base: Path, tmp_path: Path
) -> None:
    write_gradient(SerialPool(), jobs, tiny_base, tmp_path / "gradient")
    each = [gradient(tiny_base, job, unheard) for job in jobs]
    with Checkpoint(tiny_base) as base:
        found = load_file(tmp_path / "gradient")
        assert {name: tensor.shape for name, tensor in found.items()} == {
            name: info.shape for name, info in base.body.items()
        }
    for name, values in each[0].items():
        np.testing.assert_allclose(found[name], (values + each[1][name]) / 2, rtol=1e-5, atol=1e-9)


def test_a_task_that_fails_is_named(jobs: list[ScoreJob], tmp_path: Path) -> None:
    with pytest.raises(RoundError, match="cannot take the gradient on"):
        write_gradient(SerialPool(), jobs, tmp_path / "nothing", tmp_path / "gradient")


def test_a_base_is_compared_with_itself_without_a_contribution(
    tasks: list[Task], tiny_base: Path, tmp_path: Path
) -> None:
    evaluator = Evaluator(pool=SerialPool(), cache=tmp_path / "scores")
    assessor = assessing(evaluator, tasks, PROBED)
    assert assessor is not None
    make_base(tmp_path / "other", sentences(200, seed=0)[0], seed=7, hidden=16, vocabulary=300)
    same, other = (assessor.compare(tiny_base, folder) for folder in (tiny_base, tmp_path / "other"))
    assert (same.gain.mean, [task.mean for task in same.tasks]) == (0.0, [0.0, 0.0])
    assert [task.task for task in other.tasks] == ["one", "two"] and other.gain.num_tasks == 2
    assert other.gain.mean == pytest.approx(np.mean([task.mean for task in other.tasks]), abs=1e-3)
    assert all(task.low <= task.mean <= task.high for task in other.tasks)


def test_without_held_out_tasks_nobody_knows_what_a_contribution_is_worth(tmp_path: Path) -> None:
    assert assessing(Evaluator(pool=SerialPool(), cache=tmp_path), [], PROBED) is None
