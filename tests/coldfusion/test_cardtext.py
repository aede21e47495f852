from dataclasses import replace

import pytest

from coldfusion.cardtext import card_text, is_model_name, plain_card, quoted
from coldfusion.config import Policy
from coldfusion.records import Evaluation, Gain, Revision, RoundRecord, TaskScore, Worth
from tests.helpers import entry

FIRST = RoundRecord(round_index=0, parent=None, fusing=None, pretrained="org/model")


def gain(mean: float, **more: str) -> Gain:
    return Gain(protocol="probe", held_out=True, mean=mean, low=mean - 1, high=mean + 1, num_tasks=2, **more)


def score(task: str, value: float, metric: str = "accuracy") -> TaskScore:
    return TaskScore(
        task=task, held_out=True, protocol="probe", seed=0, score=value, num_examples=9, metric=metric
    )


SECOND = RoundRecord(
    round_index=1,
    parent=Revision("a" * 40),
    fusing=Policy().fusing(),
    entries=(entry("alice"), entry("bob", "norm 9 is 9.0 x median")),
    evaluation=Evaluation(
        scores=(score("cola", 60.0), score("rte", 50.0), score("rte", 0.5, "loss")),
        gains=(gain(2.5), gain(0.25, against="previous")),
    ),
    worths=(Worth(contributor="alice", gain=gain(0.5)),),
    pretrained="org/model",
)


def test_a_card_says_what_the_base_is_and_how_it_is_opened() -> None:
    text = card_text([FIRST, SECOND], repo="lab/fed")
    assert text.startswith("# Base of round 1 of lab/fed\n\n1 of 2 contributions were fused (`mean, ")
    assert 'AutoModel.from_pretrained("lab/fed", revision="round-0001")' in text
    assert "Round 0 is the pretrained model [`org/model`](https://huggingface.co/org/model)" in text
    assert 'from_pretrained("<this repo>"' in card_text([FIRST])


def test_scores_stand_with_their_gains_and_a_loss_apart() -> None:
    text = card_text([FIRST, SECOND])
    row = "| probe | held-out | 55.00 | +0.25 [-0.75, +1.25] | +2.50 [+1.50, +3.50] | 0 of 2 |"
    assert row in text.replace("\\", "") and "| probe | held-out | 0.50 nats |  |  |  |" in text
    assert "This base was not evaluated." in card_text([FIRST])


def test_who_was_refused_and_what_the_others_were_worth() -> None:
    third = replace(SECOND, round_index=2, worths=(Worth(contributor="alice", gain=gain(-2.0)),))
    text = card_text([FIRST, SECOND, third])
    assert "- Fused: `alice`.\n- Refused: `bob`: `norm 9 is 9.0 x median`\n" in text
    assert "| `alice` | 2 | 0 | -1.50 | 0, 1 of 2 | -2.00 [-3.00, -1.00] |" in text
    assert "| `bob` | 0 | 2 |  |  |  |" in text


def test_a_round_of_a_thousand_is_told_in_brief() -> None:
    everybody = tuple(entry(f"c{i:03}", *(["late"] if i % 2 else [])) for i in range(1000))
    text = card_text([FIRST, replace(SECOND, entries=everybody, worths=())])
    assert text.count("late") == 10 and "- and 490 more of these" in text
    assert "and 475 more." in text and "And 975 more: see `rounds/`." in text


def test_a_plain_card_has_metadata_too() -> None:
    (text,) = plain_card([FIRST]).values()
    assert text.startswith(b"---\nlibrary_name: transformers\n") and b"\n---\n\n# Base of round 0\n" in text


@pytest.mark.parametrize("name", ["org/model", "bert-base-uncased", "a/b.c_d-e"])
def test_a_models_name(name: str) -> None:
    assert is_model_name(name)


@pytest.mark.parametrize("name", ["", "a/b/c", "/a", "../a", "a b", "a/b.git", "a\n", "é/a", "a/" + "b" * 97])
def test_no_models_name(name: str) -> None:
    assert not is_model_name(name)


def test_a_quotation_ends_where_it_should() -> None:
    assert quoted("a`b\n\x00c") == "`a'b c`" and quoted("\n") == "` `"
