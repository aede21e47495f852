from pathlib import Path

import pytest

from experiments.timing import ROUND, SCORE, TRAIN, Interval, StepClock, Timeline, covered


def interval(kind: str, start: float, end: float, round_index: int = 1) -> Interval:
    return Interval(kind, round_index, "x", start, end)


def test_time_is_covered_once_however_many_work() -> None:
    assert covered([interval(TRAIN, 0, 4), interval(TRAIN, 2, 6), interval(SCORE, 8, 9)]) == 7
    assert covered([interval(TRAIN, 0, 10), interval(TRAIN, 2, 3)]) == 10
    assert covered([]) == 0


def test_a_split_by_hand(tmp_path: Path) -> None:
    timeline = Timeline(tmp_path / "t")
    for one in (
        interval(TRAIN, 1, 5),
        interval(TRAIN, 2, 6),
        interval(SCORE, 7, 9),
        interval("fuse", 6, 7),
        interval(ROUND, 0, 10),
        interval(TRAIN, 11, 12, round_index=2),
    ):
        timeline.add(one)
    split = timeline.split(1)
    assert split is not None
    assert (split.seconds, split.train, split.score, split.neither) == (10, 5, 2, 3)
    assert split.overhead == pytest.approx(0.3)
    assert timeline.split(2) is None  # it did not come to its end


def test_a_resumed_run_knows_its_past_but_not_the_line_that_a_kill_cut_off(tmp_path: Path) -> None:
    Timeline(tmp_path / "t").add(interval(TRAIN, 1, 2))
    with (tmp_path / "t").open("a") as file:
        file.write('{"kind": "tr')
    again = Timeline(tmp_path / "t")
    again.add(interval(SCORE, 2, 3))
    assert [i.kind for i in Timeline(tmp_path / "t").intervals] == [TRAIN, SCORE]


def test_every_step_lasts_until_the_next_one(tmp_path: Path) -> None:
    timeline = Timeline(tmp_path / "t")
    clock = StepClock(timeline, 3)
    for step in ("collect", "fuse", "done"):
        clock(step)
    first, second = timeline.intervals
    assert (first.kind, second.kind, first.round_index) == ("collect", "fuse", 3)
    assert first.end == second.start
