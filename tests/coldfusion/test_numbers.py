from coldfusion.numbers import numbers_of
from coldfusion.records import Evaluation, Gain, RoundRecord, TaskScore, Worth
from tests.helpers import entry


def score(task: str, value: float, held_out: bool, metric: str = "accuracy") -> TaskScore:
    return TaskScore(
        task=task,
        held_out=held_out,
        protocol="probe",
        seed=0,
        score=value,
        num_examples=9,
        metric=metric,
    )


GAIN = Gain(protocol="probe", held_out=True, mean=2.0, low=1.0, high=3.0, num_tasks=2)


def test_a_round_in_numbers() -> None:
    record = RoundRecord(
        round_index=1,
        parent=None,
        fusing=None,
        entries=(entry("alice"), entry("bob"), entry("eve", "norm")),
        evaluation=Evaluation(
            scores=(
                score("a", 50.0, True),
                score("b", 60.0, True),
                score("a", 0.5, True, "loss"),
                score("c", 70.0, False),
            ),
            gains=(GAIN,),
        ),
        worths=(Worth(contributor="alice", gain=GAIN, estimate=0.25), Worth(contributor="bob")),
    )
    assert numbers_of(record) == {
        "round/fused": 2,
        "round/refused": 1,
        "round/bytes": 4096,
        "round/examples": 80,
        "score/probe/held-out": 55.0,
        "score/probe/held-out/nats": 0.5,
        "score/probe/contributed": 70.0,
        "gain_pretrained/probe/held-out": 2.0,
        "gain_pretrained/probe/held-out/low": 1.0,
        "gain_pretrained/probe/held-out/high": 3.0,
        "worth/alice": 2.0,
        "worth/alice/low": 1.0,
        "worth/alice/high": 3.0,
        "estimate/alice": 0.25,
    }


def test_the_pretrained_model_in_numbers() -> None:
    numbers = numbers_of(RoundRecord(round_index=0, parent=None, fusing=None))
    assert numbers == {"round/fused": 0, "round/refused": 0, "round/bytes": 0, "round/examples": 0}
