import dataclasses
import shutil
from pathlib import Path

import pytest

from coldfusion.errors import BaseError, ConfigError, DataError
from experiments.config import Harm, SimulationConfig
from experiments.planning import make_plan
from tests.tasks import write_csv, write_tasks

NAMES = ["apple", "berry", "cherry", "date", "elder"]


@pytest.fixture
def config(tiny_base: Path, tmp_path: Path) -> SimulationConfig:
    return SimulationConfig(
        name="test",
        base=str(tiny_base),
        tasks=str(write_tasks(tmp_path / "tasks", NAMES)),
        held_out=["date"],
        contributors_per_round=2,
        run=str(tmp_path / "run"),
    )


def test_everything_that_is_not_held_out_is_contributed_and_scored(config: SimulationConfig) -> None:
    plan = make_plan(config)
    assert [task.name for task in plan.contributed] == ["apple", "berry", "cherry", "elder"]
    assert [task.name for task in plan.held_out] == ["date"]
    assert [task.name for task in plan.scored] == ["date", "apple", "berry", "cherry", "elder"]


def test_a_cohort_is_drawn_anew_every_round_and_never_twice_the_same_name(config: SimulationConfig) -> None:
    plan = make_plan(config)
    cohorts = [[task.name for task in plan.cohort(index)] for index in range(1, 30)]
    assert all(len(set(cohort)) == 2 and cohort == sorted(cohort) for cohort in cohorts)
    assert len({tuple(cohort) for cohort in cohorts}) == 6  # all pairs of four
    assert [task.name for task in make_plan(config).cohort(5)] == cohorts[4]


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"tasks": "/nowhere"}, DataError, "tasks=/nowhere: no such folder"),
        ({"held_out": ["fig"]}, DataError, "no task 'fig' there; apple, berry"),
        ({"scored": ["fig"]}, ConfigError, "scored task 'fig' is not among the contributed ones"),
        ({"contributors_per_round": 5}, ConfigError, "contributors_per_round 5: only 4 tasks contribute"),
        ({"harm": [Harm("date")]}, ConfigError, "harm: 'date' is not among the contributed tasks"),
        ({"base": "/nowhere"}, BaseError, "/nowhere: no model can be had"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    config: SimulationConfig, change: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_plan(dataclasses.replace(config, **change))  # type: ignore[arg-type]
    assert not Path(config.run).exists()


def test_a_held_out_task_among_the_contributed_ones_is_refused(config: SimulationConfig) -> None:
    with pytest.raises(ConfigError, match="held-out task 'date' is among the contributed ones"):
        dataclasses.replace(config, contributed=["apple", "date"])


def test_a_held_out_task_under_another_name_is_refused(config: SimulationConfig) -> None:
    shutil.copytree(Path(config.tasks) / "date", Path(config.tasks) / "fig")
    with pytest.raises(ConfigError, match="contributed task 'fig' is held-out 'date' again"):
        make_plan(config)


def test_the_test_split_of_a_held_out_task_is_not_contributed_either(config: SimulationConfig) -> None:
    folder = Path(config.tasks)
    rows = (folder / "date" / "test.csv").read_text().upper()  # as if from elsewhere
    (folder / "apple" / "train.csv").write_text(rows.replace("TEXT,LABEL", "text,label").replace("GOOD", "1"))
    (folder / "apple" / "test.csv").write_text("text,label\na,1\nb,BAD\n")
    with pytest.raises(ConfigError, match="'apple' is held-out 'date' again: 20 of its 20 texts are there"):
        make_plan(config)


def test_bad_data_is_found_before_the_run(config: SimulationConfig) -> None:
    path = write_csv(Path(config.tasks) / "apple" / "train.csv", ["text", "label"], [("a", 1), ("b", 1)])
    with pytest.raises(DataError, match=f"{path}: every row has the same label"):
        make_plan(config)


def test_a_missing_split_is_named(config: SimulationConfig) -> None:
    (Path(config.tasks) / "apple" / "test.csv").unlink()
    with pytest.raises(DataError, match="tasks/apple: no test split; expected test.csv, .tsv"):
        make_plan(config)
