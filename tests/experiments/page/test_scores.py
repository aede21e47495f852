from dataclasses import replace

from coldfusion.records import Evaluation
from experiments.page.scores import groups_of, opening
from tests.pages import evaluation, full_round, start

RECORDS = [start(evaluation=evaluation(0)), full_round(1)]


def test_held_out_tasks_come_first_and_a_mean_is_over_tasks() -> None:
    held_out, contributed = groups_of(RECORDS)
    assert (held_out.title, contributed.title) == ("probe, held-out", "probe, contributed")
    assert held_out.mean(evaluation(1).scores) == 62.0  # 59, 61, 63 and 65
    assert contributed.mean(()) is None


def test_a_page_opens_with_held_out_tasks_where_there_are_any() -> None:
    found = opening(RECORDS)
    assert found is not None and found.group.held_out and found.gain.mean == 1.5
    assert found.previous is not None and found.previous.mean == 0.5
    seen_alone = replace(evaluation(1), gains=evaluation(1).gains[1:2])
    found = opening([RECORDS[0], replace(RECORDS[1], evaluation=seen_alone)])
    assert found is not None and not found.group.held_out


def test_without_scores_or_rounds_there_is_nothing_to_open_with() -> None:
    assert opening(RECORDS[:1]) is None
    assert opening([start(), replace(full_round(1), evaluation=Evaluation())]) is None
