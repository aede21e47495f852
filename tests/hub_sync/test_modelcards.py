"""The model card of a round, as huggingface_hub's own classes read it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard, ModelCardData
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from coldfusion.cardtext import on_one_line
from coldfusion.config import Policy
from coldfusion.metrics import METRICS
from coldfusion.records import Evaluation, Gain, Revision, RoundRecord, TaskScore, Trial
from hub_sync import modelcards
from hub_sync.modelcards import LONGEST_NAME, METRIC_IDS, PICTURE, model_card
from hub_sync.server.cards import parse
from tests.helpers import entry

NASTY = "`\n---\n<script>|![x](y)\u202e @all"
FIRST = RoundRecord(round_index=0, parent=None, fusing=None, pretrained="org/model")


def score(task: str, value: float, *, held_out: bool = True, seed: int = 0) -> TaskScore:
    return TaskScore(task=task, held_out=held_out, protocol="probe", seed=seed, score=value, num_examples=9)


def gain(mean: float) -> Gain:
    return Gain(protocol="probe", held_out=True, mean=mean, low=mean - 1, high=mean + 1, num_tasks=1)


def read_back(card: ModelCardData) -> list[TaskScore]:
    """The scores that a card's results say, in some order."""
    names = {theirs: ours for ours, theirs in METRIC_IDS.items()}
    found = [
        TaskScore(
            task=result.dataset_name,
            metric=names[result.metric_type],
            score=result.metric_value,
            **(result.metric_args or {}),
        )
        for result in card.eval_results or []
    ]
    return sorted(found, key=repr)


@st.composite
def scores(draw: st.DrawFn) -> TaskScore:
    metric = METRICS[draw(st.sampled_from(sorted(METRICS)))]
    most = 100.0 if metric.unit == "points" else 1e300
    return TaskScore(
        task=draw(st.sampled_from(["cola", "a b", "a-b", "null", "1e3", "2020-01-01", NASTY]) | st.text()),
        held_out=draw(st.booleans()),
        protocol=draw(st.sampled_from(["probe", "fine-tune"]) | st.text(max_size=5)),
        seed=draw(st.integers(0, 9)),
        metric=metric.name,
        score=draw(st.floats(metric.least, most)),
        num_examples=draw(st.integers(1, 10**6)),
    )


def as_named(text: str) -> str:
    return on_one_line(text)[:LONGEST_NAME].strip() or "unnamed"


@settings(max_examples=40, deadline=None)
@given(st.lists(scores(), max_size=8))
def test_every_cards_results_are_the_scores_of_its_record(found: list[TaskScore]) -> None:
    text = model_card([replace(FIRST, evaluation=Evaluation(scores=tuple(found)))])["README.md"].decode()
    wanted = [replace(s, task=as_named(s.task), protocol=as_named(s.protocol)) for s in found]
    assert read_back(ModelCard(text).data) == sorted(wanted, key=repr)
    assert read_back(ModelCardData(**parse(text))) == sorted(wanted, key=repr)


def second(*gains: Gain) -> RoundRecord:
    return RoundRecord(
        round_index=1,
        parent=Revision("a" * 40),
        fusing=Policy().fusing(),
        entries=(entry("alice"), entry(NASTY, NASTY)),
        notes=(NASTY,),
        evaluation=Evaluation(scores=(score("cola", 50.0),), gains=gains),
        trials=(Trial(without=(NASTY,), gain=replace(gain(0.5), worst=NASTY), reasons=(NASTY,)),),
        pretrained="org/model",
    )


def test_what_strangers_wrote_means_nothing_in_it() -> None:
    record = replace(second(replace(gain(1.0), worst=NASTY, num_worse=1)), pretrained=NASTY)
    card = ModelCard(model_card([FIRST, record])["README.md"].decode())
    assert "base_model" not in card.data.to_dict()
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(card.text)
    assert "<script" not in page and 'src="y"' not in page and "\u202e" not in page
    assert page.count("&lt;script&gt;") == 7 and page.count("<td") == 6 + 2 * 6 and "<hr" not in page


def test_the_same_records_give_the_same_bytes_and_another_gain_another_picture() -> None:
    one, two, other = (model_card([FIRST, second(gain(mean))], repo="lab/fed") for mean in (1.0, 1.0, 2.0))
    assert one == two and one[PICTURE] != other[PICTURE]
    assert b"Date" not in one[PICTURE] and b"Software" not in one[PICTURE]


def test_without_gains_there_is_no_picture() -> None:
    files = model_card([FIRST, second()])
    assert list(files) == ["README.md"] and b"figures/" not in files["README.md"]


def test_a_gain_in_nats_is_drawn_where_there_is_no_other() -> None:
    assert PICTURE in model_card([FIRST, second(replace(gain(0.1), unit="nats", protocol="head"))])


def test_metadata_that_a_hub_would_refuse_is_cut_and_the_held_out_come_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(modelcards, "LONGEST", 4000)
    found = [score(f"t{i}", 50.0, held_out=i % 2 == 1) for i in range(16)]
    text = model_card([replace(FIRST, evaluation=Evaluation(scores=tuple(found)))])["README.md"].decode()
    assert len(text.split("---")[1]) <= 4000
    results = read_back(ModelCardData(**parse(text)))
    assert sum(one.held_out for one in results) == 8 < len(results) < 16
