from dataclasses import replace

from coldfusion.records import Evaluation, TaskScore
from experiments.page.heat import MOST_ROUNDS, MOST_TASKS, heat_maps
from tests.pages import HELD_OUT, evaluation, full_round, start

RECORDS = [start(evaluation=evaluation(0)), full_round(1), full_round(2)]


def test_every_tasks_gain_on_the_pretrained_model_by_round_best_first() -> None:
    """Task t of four gains t - 1 points a round."""
    held_out, contributed = heat_maps(RECORDS)
    rows = [
        (row.task, [cell.text for cell in row.cells], row.before, row.after) for row in held_out.rows.shown
    ]
    assert held_out.rounds == (1, 2) and held_out.group.title == "probe, held-out"
    assert rows == [
        (HELD_OUT[3], ["+2.0", "+4.0"], 63.0, 67.0),
        ("wic", ["+1.0", "+2.0"], 62.0, 64.0),
        ("rte", ["0.0", "0.0"], 61.0, 61.0),
        ("cola", ["-1.0", "-2.0"], 60.0, 58.0),
    ]
    assert [row.task for row in contributed.rows.shown] == ["trec", "boolq"]


def test_the_colour_says_the_sign_and_the_size() -> None:
    rows = heat_maps(RECORDS)[0].rows.shown
    assert [cell.shade for row in rows for cell in row.cells] == ["u5", "u10", "u2", "u5", "", "", "d2", "d5"]


def test_where_round_0_was_not_scored_later_rounds_tell_what_the_pretrained_model_scored() -> None:
    later = replace(evaluation(1), pretrained=evaluation(0).scores)
    records = [start(), replace(full_round(1), evaluation=later)]
    assert heat_maps(records) == heat_maps(RECORDS[:2])


def test_a_loss_is_shown_in_nats_and_falling_is_better() -> None:
    def scored(value: float) -> Evaluation:
        score = TaskScore(
            task="lm",
            held_out=True,
            protocol="probe",
            seed=0,
            score=value,
            num_examples=9,
            metric="loss",
        )
        return Evaluation(scores=(score,))

    records = [start(evaluation=scored(2.0)), replace(full_round(1), evaluation=scored(1.75))]
    (heat,) = heat_maps(records)
    (row,) = heat.rows.shown
    assert heat.group.title == "probe, held-out, loss"
    assert ([cell.text for cell in row.cells], row.before, row.after) == (["+0.250"], 2.0, 1.75)


def test_before_the_first_round_there_is_nothing_to_show() -> None:
    assert heat_maps(RECORDS[:1]) == [] and heat_maps([start(), full_round(1)]) == []


def test_of_many_tasks_and_rounds_the_ends_are_shown_and_the_rest_counted() -> None:
    many = [f"t{place:03d}" for place in range(100)]
    records = [start(evaluation=evaluation(0, many))]
    records += [replace(full_round(i), evaluation=evaluation(i, many)) for i in range(1, 51)]
    heat = heat_maps(records)[0]
    assert len(heat.rounds) == MOST_ROUNDS and heat.rounds[0] == 1 and heat.rounds[-1] == 50
    assert len(heat.rows.shown) == MOST_TASKS and heat.rows.left_out == 100 - MOST_TASKS
    gains = [row.after - row.before for row in heat.rows.shown]
    assert gains == sorted(gains, reverse=True) and gains[0] == 18.0 and gains[-1] == -9.0
