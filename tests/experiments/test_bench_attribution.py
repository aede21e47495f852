import io
from pathlib import Path

import pytest
from rich.console import Console

from coldfusion.records import Gain, Worth
from contributors.data import load_examples
from contributors.taskfolder import read_tasks
from experiments import bench_attribution
from experiments.bench_attribution import HONEST, SHUFFLED, Told, table_of
from tests.tasks import write_tasks


def worth(name: str, mean: float, estimate: float) -> Worth:
    gain = Gain(protocol="probe", held_out=True, mean=mean, low=mean - 1, high=mean + 1, num_tasks=8)
    return Worth(contributor=name, gain=gain, estimate=estimate)


def told(honest: tuple[float, float], shuffled: tuple[float, float]) -> Told:
    worths = (worth(HONEST, *honest), worth("mpqa", 2.0, 0.5), worth(SHUFFLED, *shuffled))
    return Told(seed=3, twins="cola", worths=worths)


def test_twins_are_told_apart_where_the_honest_one_is_worth_more() -> None:
    found = [told((0.5, 0.1), (-0.5, 0.2)), told((0.5, 0.2), (0.5, 0.1))]
    assert [(one.by_leaving_out, one.by_estimate) for one in found] == [(True, False), (False, True)]
    console = Console(file=io.StringIO(), width=200)
    console.print(table_of(found, Path("base")))
    assert isinstance(console.file, io.StringIO)
    shown = " ".join(console.file.getvalue().split())
    assert "told apart by leaving one out in 1 of 2, by the estimate in 1" in shown


def test_the_twins_have_halves_of_one_task_that_do_not_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_attribution, "SHOTS", 15)
    twins, other = read_tasks(write_tasks(tmp_path / "tasks", ["one", "two"]))
    data = bench_attribution._data(twins, [other], 0, tmp_path)
    assert list(data) == [HONEST, SHUFFLED, "two"]
    everything = load_examples(twins.train.source).rows["text"][:]
    halves = [load_examples(str(data[name])).rows["text"][:] for name in (HONEST, SHUFFLED)]
    assert [len(half) for half in halves] == [15, 15]
    for text in everything:  # a text may occur twice in the task
        assert sum(half.count(text) for half in halves) <= everything.count(text)
