from html.parser import HTMLParser
from pathlib import Path

import pytest

from coldfusion.config import Policy
from coldfusion.records import Evaluation, Gain, Revision, RoundRecord, TaskScore
from contributors.scoring import PROBE
from experiments.config import SimulationConfig
from experiments.report import Run, page_of_run, write_report
from experiments.tables import round_table, time_line
from experiments.timing import ROUND, SCORE, TRAIN, Interval, Timeline
from tests.helpers import entry

NASTY = '<script>alert("x")</script>'


def evaluation(held_out: float, contributed: float, gain: float) -> Evaluation:
    return Evaluation(
        scores=(
            TaskScore(task="unseen", held_out=True, protocol=PROBE, seed=0, score=held_out, num_examples=9),
            TaskScore(task="seen", held_out=False, protocol=PROBE, seed=0, score=contributed, num_examples=9),
        ),
        gains=(
            Gain(protocol=PROBE, held_out=True, mean=gain, low=gain - 1, high=gain + 1, num_tasks=1),
            Gain(protocol=PROBE, held_out=False, mean=gain, low=gain - 1, high=gain + 1, num_tasks=1),
        ),
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    start = RoundRecord(round_index=0, parent=None, fusing=None, evaluation=evaluation(50.0, 60.0, 0.0))
    first = RoundRecord(
        round_index=1,
        parent=Revision("a" * 40),
        fusing=Policy().fusing(),
        entries=(entry("alice"), entry("bob", NASTY, proposal=None)),
        evaluation=evaluation(52.5, 59.0, 2.5),
    )
    timeline = Timeline(tmp_path / "timeline.jsonl")
    for kind, begin, end in ((TRAIN, 0, 6), (SCORE, 6, 9), (ROUND, 0, 10)):
        timeline.add(Interval(kind, 1, "x", begin, end))
    config = SimulationConfig(name=NASTY, base="b", tasks="t", held_out=["unseen"], run=str(tmp_path))
    return Run(config, tmp_path, (start, first), timeline)


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")
        ]


def test_the_page_needs_no_network_and_runs_no_script(run: Run) -> None:
    page = Page()
    page.feed(write_report(run).read_text())
    assert "script" not in page.tags and "link" not in page.tags
    assert all(link.startswith("#") for link in page.links)
    assert {"svg", "table", "h2"} <= set(page.tags)


def test_what_strangers_send_is_text_on_the_page(run: Run) -> None:
    html = write_report(run).read_text()
    assert NASTY not in html and "&lt;script&gt;" in html


def test_the_page_says_what_happened(run: Run) -> None:
    html = write_report(run).read_text()
    for words in (
        "+2.50 [+1.50, +3.50]",
        "excludes zero",
        "alice",
        "refused",
        "1 of 2 fused",
        "How to reproduce",
    ):
        assert words in html


def test_a_run_tells_what_is_known_of_it_alone(run: Run) -> None:
    facts = page_of_run(run).run
    assert facts is not None and (facts.seed, facts.start, list(facts.splits)) == (0, "b", [1])
    html = write_report(run).read_text()
    for words in ("coldfusion simulate config.yaml", "training", "6.0", "1.0 (10.0 %)", "cores, "):
        assert words in html


def test_a_page_before_the_first_round_is_a_page_too(run: Run) -> None:
    assert "held-out" in write_report(Run(run.config, run.room, run.records[:1], run.timeline)).read_text()


def test_the_terminal_shows_the_same_numbers(run: Run) -> None:
    table = round_table(run)
    assert [list(column.cells) for column in table.columns][3] == [
        "50.00  +0.0 [-1.0, +1.0]",
        "52.50  +2.5 [+1.5, +3.5]",
    ]
    assert time_line(run).endswith(
        "in 10 s; somebody trained in 6 s, scored in 3 s, neither in 1.0 s (10.0%)"
    )
