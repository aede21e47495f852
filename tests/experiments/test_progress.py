import io
import time

import pytest
from rich.console import Console

from experiments.progress import RunProgress, Stage


def plain() -> tuple[RunProgress, io.StringIO]:
    out = io.StringIO()
    return RunProgress(Console(file=out, width=200), rounds=3), out


def test_a_stage_counts_unfinished_jobs_by_their_examples() -> None:
    stage = Stage("contributing", total=4, finished={"c"}, running={"a": (5, 10), "b": (0, 10)})
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
    assert line.startswith("round 1/3 · scoring · 2/2 · done · ")


def test_the_time_left_is_read_off_the_rounds_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    progress, _ = plain()
    with progress.round(1):
        assert progress.seconds_left() is None
        with progress.stage("contributing", 2):
            now[0] += 21
            progress.finish("alice", 10)
            # Half of a stage that is about 0.7 of a round took 21 s: a round takes 60.
            assert progress.seconds_left() == pytest.approx(39 + 2 * 60)
        now[0] += 39
    with progress.round(2):
        now[0] += 20
        assert progress.seconds_left() == 40 + 60  # the rest of this round, and one more


def test_news_of_a_finished_job_is_no_news() -> None:
    progress, _ = plain()
    with progress.round(1), progress.stage("contributing", 2) as stage:
        progress.finish("alice", 10)
        progress.update("alice", 5, 10)
        assert stage.running == {} and stage.share == 0.5


def test_long_silence_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    progress, out = plain()
    with progress.round(1), progress.stage("contributing", 2):
        for _ in range(5):
            now[0] += 12
            progress.update("alice", 1_000, 2_000)
    assert out.getvalue().count("alice: 1,000 of 2,000") == 1  # after 36 s; the next one would come at 72


def test_bars_are_drawn_in_a_terminal_and_go_away() -> None:
    out = io.StringIO()
    progress = RunProgress(Console(file=out, width=100, force_terminal=True), rounds=3)
    with progress.round(1), progress.stage("contributing", 1):
        progress.update("alice", 5, 10)
        progress._bars.refresh()
        progress.finish("alice", 10)
    assert "alice" in out.getvalue() and "5 of 10 examples" in out.getvalue()
