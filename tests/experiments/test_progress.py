import io
import time

import pytest
from rich.console import Console

from experiments.progress import RunProgress, Stage


def plain() -> tuple[RunProgress, io.StringIO]:
    out = io.StringIO()
    return RunProgress(Console(file=out, width=200), rounds=3), out


def test_a_stage_counts_unfinished_jobs_by_their_examples() -> None:
    stage = Stage("contributing", total=4, finished=1, running={"a": (5, 10), "b": (0, 10)})
    assert stage.share == pytest.approx(1.5 / 4)


def test_the_rate_is_over_all_workers() -> None:
    stage = Stage(
        "contributing", total=2, examples=100, running={"a": (50, 100)}, started=time.monotonic() - 10
    )
    assert stage.rate == pytest.approx(15, rel=0.01)


def test_without_a_terminal_every_finished_job_is_a_line() -> None:
    progress, out = plain()
    with progress.round(2), progress.stage("contributing", 2):
        progress.update("alice", 5, 10)
        progress.finish("alice", 10)
        progress.finish("bob", 0, " failed")
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("round 2/3 · contributing · 1/2 · alice · ") and "examples/s" in lines[0]
    assert lines[1].startswith("round 2/3 · contributing · 2/2 · bob failed · ")


def test_a_stage_can_be_one_line_in_all() -> None:
    progress, out = plain()
    with progress.round(1), progress.stage("scoring", 2, each=False):
        progress.finish("a", 10)
        progress.finish("b", 10)
    (line,) = out.getvalue().splitlines()
    assert line.startswith("round 1/3 · scoring · 2/2 · ")


def test_the_time_left_is_read_off_the_rounds_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    progress, _ = plain()
    assert progress.seconds_left() is None
    with progress.round(1):
        now[0] += 60
    with progress.round(2):
        now[0] += 20
        assert progress.seconds_left() == 40 + 60  # the rest of this round, and one more


def test_bars_are_drawn_in_a_terminal_and_go_away() -> None:
    out = io.StringIO()
    progress = RunProgress(Console(file=out, width=100, force_terminal=True), rounds=3)
    with progress.round(1), progress.stage("contributing", 1):
        progress.update("alice", 5, 10)
        progress._bars.refresh()
        progress.finish("alice", 10)
    assert "alice" in out.getvalue() and "5 of 10 examples" in out.getvalue()
