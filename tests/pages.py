"""Records with everything in them that a page can show, made up: to be rendered, not to be believed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from coldfusion.config import Policy
from coldfusion.records import (
    MOST_COMPARED,
    Entry,
    Evaluation,
    Gain,
    Revision,
    RoundRecord,
    Similarity,
    TaskGain,
    TaskScore,
    Trial,
    Worth,
)
from experiments.page.contents import Page, Published
from tests import helpers

NASTY = "<script>alert('x')</script>&\"<img src=http://example.org/x.png>"
HELD_OUT, SEEN = ("cola", "rte", "wic", NASTY), ("boolq", "trec")
START = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)


def digest(number: int, length: int = 64) -> str:
    return f"{number:0{length}x}"


def entry(name: str, number: int = 1, *reasons: str) -> Entry:
    return helpers.entry(
        name,
        *reasons,
        proposal=number,
        revision=Revision(digest(number, 40)),
        sha256=digest(number),
        size=2_000_000,
    )


def gain(mean: float, held_out: bool = True, *, against: str = "pretrained", half: float = 1.0) -> Gain:
    return Gain(
        protocol="probe",
        held_out=held_out,
        mean=mean,
        low=mean - half,
        high=mean + half,
        num_tasks=len(HELD_OUT if held_out else SEEN),
        against=against,
        num_worse=1,
        worst="rte",
        worst_gain=-0.5,
    )


def evaluation(index: int, held_out: Sequence[str] = HELD_OUT, seen: Sequence[str] = SEEN) -> Evaluation:
    """Task t of the list gains (t - 1) points a round, so that the first loses and the second stays."""
    scores = [
        TaskScore(
            task=task,
            held_out=is_held_out,
            protocol="probe",
            seed=0,
            score=60.0 + place % 20 + min(index, 9) * (place % 4 - 1),
            num_examples=100,
        )
        for is_held_out, tasks in ((True, held_out), (False, seen))
        for place, task in enumerate(tasks)
    ]
    previous = (gain(0.5, against="previous"),) if index else ()
    return Evaluation(
        scores=tuple(scores), gains=(gain(1.5 * index), gain(2.0 * index, held_out=False), *previous)
    )


def worth(name: str, mean: float, held_out: Sequence[str] = HELD_OUT) -> Worth:
    tasks = tuple(TaskGain(task=t, mean=mean + i - 1, low=-1.0, high=2.0) for i, t in enumerate(held_out))
    return Worth(contributor=name, gain=gain(mean, half=0.4), tasks=tasks, estimate=mean / 100)


def similarity(names: Sequence[str]) -> Similarity:
    names = names[:MOST_COMPARED]
    rows = tuple(tuple(round(0.6 - 0.7 * ((i + j) % 5) / 4, 4) for j in range(i)) for i in range(len(names)))
    return Similarity(contributors=tuple(names), rows=rows)


def start(**parts: object) -> RoundRecord:
    return RoundRecord(  # type: ignore[arg-type]
        round_index=0, parent=None, fusing=None, output={"model.safetensors": digest(1)}, **parts
    )


def full_round(index: int, names: Sequence[str] = ("ann", "bob--reviews", "cy", "dora")) -> RoundRecord:
    """The last of the names is refused; the round had to be fused twice."""
    *fused, refused = names
    numbers = range(10 * index, 10 * index + len(fused))
    return RoundRecord(
        round_index=index,
        parent=Revision(digest(index, 40)),
        fusing=Policy(fuser="ties", outer="nesterov").fusing(seed=7, outer_state=digest(5)),
        entries=(
            *(entry(name, n) for name, n in zip(fused, numbers, strict=True)),
            entry(refused, 9, NASTY, "norm 3.2 is more than 3 x the median 0.4"),
        ),
        output={"model.safetensors": digest(index + 1)},
        notes=(f"a note on round {index}",),
        evaluation=evaluation(index),
        trials=(
            Trial(without=(), gain=gain(-1.2, against="previous"), reasons=("-1.20 points",)),
            Trial(without=(refused,), gain=gain(0.4, against="previous"), reasons=()),
        ),
        worths=tuple(worth(name, 0.5 - place) for place, name in enumerate(fused)),
        similarity=similarity(sorted(names)),
        pretrained="org/encoder",
    )


def page(records: Sequence[RoundRecord]) -> Page:
    last = records[-1].round_index
    return Page(
        title="lab/fed",
        address="https://huggingface.co/lab/fed",
        records=tuple(records),
        published=Published(
            revisions={index: Revision(digest(index + 1, 40)) for index in range(last + 1)},
            moments={index: START + timedelta(hours=5 * index) for index in range(last + 1)},
            base_bytes=498_000_000,
        ),
        policy=Policy(quorum=3),
    )


def full_page(rounds: int = 3) -> Page:
    """A federation in which everything happened."""
    return page([start(evaluation=evaluation(0)), *(full_round(index) for index in range(1, rounds + 1))])


def large_page(rounds: int = 100, people: int = 100) -> Page:
    """Long lists everywhere."""
    names = [f"lab{place:04d}--a-data-set-with-a-long-name" for place in range(people)]
    return page(
        [start(evaluation=evaluation(0)), *(full_round(index, names) for index in range(1, rounds + 1))]
    )
