from pathlib import Path

import pytest

from coldfusion.errors import ConfigError, DataError
from contributors.scoring import FEW_SHOT, PROBE
from contributors.suites import read_suite
from tests.tasks import write_csv, write_task, write_tasks


@pytest.fixture
def room(tmp_path: Path) -> Path:
    write_task(tmp_path / "words", seed=0)
    write_csv(tmp_path / "odd.csv", ["sentence", "text", "grade"], [(f"s{i}", "x", i % 3) for i in range(30)])
    return tmp_path


def write(room: Path, text: str) -> Path:
    path = room / "suite.yaml"
    path.write_text(text)
    return path


GOOD = """\
tasks:
  - {name: words, train: words/train.csv, test: words/test.csv}
  - name: odd
    train: odd.csv
    test: odd.csv
    columns: {text: sentence, label: grade}
    metrics: [macro_f1, loss]
    max_train: 20
    max_test: 10
protocols: [probe, few-shot]
seeds: [3, 4]
few_shot: {max_examples: 12}
pool: {backend: serial}
"""


def test_a_suite_says_what_is_scored_and_how(room: Path) -> None:
    suite = read_suite(write(room, GOOD), ["few_shot.lr=0.01"])
    words, odd = suite.tasks
    assert (words.name, words.metrics, words.held_out) == ("words", ("accuracy",), True)
    assert (odd.metrics, odd.train.most, odd.test.most) == (("macro_f1", "loss"), 20, 10)
    probe, few = suite.protocols
    assert (probe.name, probe.seeds, few.name, few.seeds) == (PROBE, (0,), FEW_SHOT, (3, 4))
    assert few.settings.max_examples == 12 and few.settings.lr == 0.01  # type: ignore[union-attr]
    assert suite.pool.backend == "serial"


def test_a_folder_of_tasks_is_a_suite(tmp_path: Path) -> None:
    write_tasks(tmp_path / "tasks", ["one", "two"])
    suite = read_suite(tmp_path / "tasks", protocols=["few-shot", "probe", "probe"])
    assert [task.name for task in suite.tasks] == ["one", "two"]
    assert [protocol.name for protocol in suite.protocols] == [FEW_SHOT, PROBE]


def test_limits_make_another_task_of_it_and_draw_the_same_every_time(room: Path) -> None:
    one, again, other = (
        read_suite(write(room, GOOD.replace("max_test: 10", f"max_test: {most}"))).tasks[1]
        for most in (10, 10, 9)
    )
    assert one.digest == again.digest != other.digest


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (("words/test.csv", "words/tset.csv"), DataError, "words/tset.csv"),
        (("sentence", "sentense"), DataError, "odd.csv: no column 'sentense'; it has sentence, text, grade"),
        (("label: grade", "labels: grade"), ConfigError, "task 'odd': columns are text, .* not 'labels'"),
        (("macro_f1", "f1"), ConfigError, "unknown metric 'f1'; known: accuracy"),
        (("[macro_f1, loss]", "[]"), ConfigError, "task 'odd' has no metric"),
        (("name: odd", "name: words"), ConfigError, "two tasks are called 'words'"),
        (("few-shot", "zero-shot"), ConfigError, "unknown protocol 'zero-shot'"),
        (("max_examples", "max_example"), ConfigError, "few_shot.max_example"),
        (("tasks:", "task:"), ConfigError, "task"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_scored(
    room: Path, change: tuple[str, str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_suite(write(room, GOOD.replace(*change)))


def test_a_suite_without_tasks_is_none(room: Path) -> None:
    with pytest.raises(ConfigError, match="suite.yaml: names no task"):
        read_suite(write(room, "protocols: [probe]\n"))
