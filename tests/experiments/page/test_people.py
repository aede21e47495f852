from dataclasses import replace

from coldfusion.records import Worth
from experiments.page.people import MOST_CREDITS, MOST_ENTRIES, MOST_ROUNDS, credit_table, rounds_of
from tests.pages import entry, full_round, start


def test_contributions_are_told_most_worth_first_and_refused_ones_last() -> None:
    (round_,) = rounds_of([start(), full_round(1)])
    told = [(given.entry.contributor, given.gain) for given in round_.rows.shown]
    assert told == [
        ("ann", "+0.50 [+0.10, +0.90]"),
        ("bob--reviews", "-0.50 [-0.90, -0.10]"),
        ("cy", "-1.50 [-1.90, -1.10]"),
        ("dora", ""),
    ]


def test_what_each_was_worth_task_by_task() -> None:
    by_task = rounds_of([start(), full_round(1)])[0].by_task
    assert by_task is not None and by_task.tasks[1:] == ("cola", "rte", "wic") and by_task.most == 2.5
    assert [(who, [cell.text for cell in cells]) for who, cells in by_task.rows][0] == (
        "ann",
        ["+2.5", "-0.5", "+0.5", "+1.5"],
    )


def test_where_nothing_was_measured_it_says_so() -> None:
    records = [start(), replace(full_round(1), worths=())]
    table, (round_,) = credit_table(records), rounds_of(records)
    assert not table.measured and not table.estimated and not round_.measured and round_.by_task is None
    estimated = [start(), replace(full_round(1), worths=(Worth(contributor="ann", estimate=0.1),))]
    assert not credit_table(estimated).measured and credit_table(estimated).estimated


def test_a_second_contribution_that_was_refused_is_not_told_the_worth_of_the_first() -> None:
    record = full_round(1)
    twice = replace(record, entries=(*record.entries, entry("ann", 99, "a second one")))
    assert [(g.entry.accepted, g.gain != "") for g in rounds_of([start(), twice])[0].rows.shown][-1] == (
        False,
        False,
    )


def test_of_many_the_ends_are_shown_and_the_rest_counted() -> None:
    names = [f"p{place:03d}" for place in range(101)]
    records = [start(), *(full_round(index, names) for index in range(1, 21))]
    table, rounds = credit_table(records), rounds_of(records)
    assert len(table.rows.shown) == MOST_CREDITS and table.rows.left_out == 101 - MOST_CREDITS
    assert len(rounds) == MOST_ROUNDS and len(rounds[0].rows.shown) == MOST_ENTRIES
    assert rounds[0].rows.left_out == 100 - MOST_ENTRIES and rounds[0].refused_left_out == 1


def test_estimates_order_those_that_were_not_measured_and_are_held_against_those_that_were() -> None:
    estimates = {"ann": 0.1, "bob--reviews": 0.3, "cy": 0.2}
    worths = tuple(Worth(contributor=name, estimate=nats) for name, nats in estimates.items())
    (round_,) = rounds_of([start(), replace(full_round(1), worths=worths)])
    assert [g.entry.contributor for g in round_.rows.shown][:3] == ["bob--reviews", "cy", "ann"]
    assert round_.correlation is None
    measured = tuple(replace(worth, estimate=estimates[worth.contributor]) for worth in full_round(1).worths)
    # Gains of 0.5, -0.5 and -1.5 with estimates of 0.1, 0.3 and 0.2: -0.5 by Pearson.
    assert rounds_of([start(), replace(full_round(1), worths=measured)])[0].correlation == -0.5
