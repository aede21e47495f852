"""The text of a round's model card: README.md beside the checkpoint, for whoever finds the base on the Hub.

And what a contributor is told of its contribution's worth, in the same Markdown.

What strangers wrote, their names and the reasons that quote them, stands in code spans, where neither
Markdown nor HTML means anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from coldfusion.cards import describe, describe_fusing, describe_trial, describe_worse
from coldfusion.credits import Credit, credits_of
from coldfusion.groups import group_of
from coldfusion.layout import record_path, tag_name
from coldfusion.records import Evaluation, RoundRecord, Worth

README = "README.md"
MOST_ROWS = 25  # contributors in a table; the records have all of them
MOST_TASKS = 40  # that a pull request is told of
MOST_LINES = 10  # refusals and candidates that are told one by one

Card = Callable[[Sequence[RoundRecord]], Mapping[str, bytes]]
"""The records of all rounds so far -> what the newest says to people: path on the Hub -> contents."""

_MODEL = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_MEANS_SOMETHING = re.compile(r"([\\`*_{}\[\]<>|~#&])")

_PLAIN = """\
---
library_name: transformers
tags:
- coldfusion
- federated-learning
- model-merging
---

"""

_USE = """\
```python
from transformers import AutoModel, AutoTokenizer

model = AutoModel.from_pretrained("{repo}", revision="{tag}")
tokenizer = AutoTokenizer.from_pretrained("{repo}", revision="{tag}")
```

It is an encoder without a head: it gives a vector for every token. Fine-tune it, or put a head on it."""

_SCORES = """\
{table}

The gain is a mean over tasks, in points, with its 95 % interval; every task is compared example by example.
Nobody contributes a held-out task."""

_WORTH = (
    "**What it was worth: {gain} points** on {tasks} held-out tasks. So much better is this base than the "
    "same one without this contribution (95 % interval, on validation splits)."
)
_ESTIMATED = "First-order estimate: it took {nats:+.3g} nats off the loss on held-out tasks"


def plain_card(records: Sequence[RoundRecord]) -> dict[str, bytes]:
    """A card of text alone. `hub_sync.modelcards` makes one that a Hub reads the scores of."""
    return {README: (_PLAIN + card_text(records)).encode()}


def card_text(records: Sequence[RoundRecord], *, repo: str | None = None, picture: str | None = None) -> str:
    """What the card of the newest round says, without metadata.

    records: of all rounds, the newest last. repo: org/name, where it is known. picture: the path of one.
    """
    record = records[-1]
    title = f"Base of round {record.round_index}" + (f" of {repo}" if repo else "")
    sections = {
        "Use": _USE.format(repo=repo or "<this repo>", tag=tag_name(record.round_index)),
        "Scores": _scores(record.evaluation, picture),
        "What went in": _went_in(record),
        "Credit": _credit(records),
        "Lineage": _lineage(record),
        "How to reproduce": _reproduce(record, repo),
    }
    parts = [f"# {title}", _lead(record)]
    parts += [f"## {heading}\n\n{text}" for heading, text in sections.items() if text]
    return "\n\n".join(parts) + "\n"


def worth_text(worth: Worth) -> str:
    """What a contribution was worth, for its pull request: a sentence, and a row for every held-out task."""
    estimated = "" if worth.estimate is None else _ESTIMATED.format(nats=worth.estimate)
    if worth.gain is None:
        return estimated and f"{estimated}; it was not left out to see."
    parts = [_WORTH.format(gain=describe(worth.gain), tasks=worth.gain.num_tasks)]
    parts += [f"{estimated}."] if estimated else []
    tasks = sorted(worth.tasks, key=lambda task: (-task.mean, task.task))
    rows = [[task.task, f"{task.mean:+.2f}", f"{task.low:+.2f} to {task.high:+.2f}"] for task in tasks]
    if len(rows) > MOST_TASKS:
        rows[MOST_TASKS:] = [[f"and {len(rows) - MOST_TASKS} more, in the round's record", "", ""]]
    parts += [_markdown(["held-out task", "points", "95 % interval"], rows)] if rows else []
    return "\n\n".join(parts)


def is_model_name(text: str) -> bool:
    """Whether `text` can be the name of a model on the Hub: org/name, or the name of an old one."""
    return _MODEL.fullmatch(text) is not None and not text.endswith((".git", ".", "-"))


def on_one_line(text: str) -> str:
    """Without line breaks, control characters and what turns the direction of writing."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def quoted(text: str) -> str:
    """A stranger's words as a code span that nothing in them ends."""
    return f"`{on_one_line(text).replace('`', chr(39)) or ' '}`"


def escaped(text: str) -> str:
    """Words of ours that hold the name of a task, as Markdown that shows them as they are."""
    return _MEANS_SOMETHING.sub(r"\\\1", on_one_line(text))


def _lead(record: RoundRecord) -> str:
    if record.fusing is None:
        return f"The pretrained model that this federation starts from{_named(record, ': ')}."
    return (
        f"{record.num_accepted} of {len(record.entries)} contributions were fused "
        f"({quoted(describe_fusing(record.fusing))}) into the base of round {record.round_index - 1}. "
        "No data was shared: only weight deltas travelled ([ColD Fusion](https://arxiv.org/abs/2212.01378), "
        "Don-Yehiya et al., ACL 2023)."
    )


def _named(record: RoundRecord, before: str) -> str:
    name = record.pretrained
    if name is None or not is_model_name(name):
        return ""
    return f"{before}[`{name}`](https://huggingface.co/{name})"


def _scores(evaluation: Evaluation, picture: str | None) -> str:
    text = _SCORES.format(table=_table(evaluation)) if evaluation.scores else "This base was not evaluated."
    if picture is None:
        return text
    return f"{text}\n\n![Gain on the pretrained model, round by round, with its 95 % interval]({picture})"


def _table(evaluation: Evaluation) -> str:
    rows, found = [], {group_of(score) for score in evaluation.scores}
    for group in sorted(found, key=lambda group: (group.protocol, not group.held_out, group.unit)):
        gain, previous = group.gain(evaluation), group.gain(evaluation, "previous")
        mean = f"{group.mean(evaluation.scores):.2f}" + ("" if group.unit == "points" else f" {group.unit}")
        gains = (describe(previous), describe(gain), escaped(describe_worse(gain)))
        rows.append([escaped(group.protocol), group.kind, mean, *gains])
    titles = ["score", "tasks", "mean", "gain on the base before", "gain on the pretrained model"]
    return _markdown([*titles, "worse than it"], rows)


def _went_in(record: RoundRecord) -> str:
    """Who was fused, who was refused and why, what the gate saw; in brief."""
    fused = [entry.contributor for entry in record.entries if entry.accepted]
    refused = [entry for entry in record.entries if not entry.accepted]
    lines = [f"Fused: {_first(map(quoted, fused), ', ')}."] if fused else []
    lines += _lines(f"Refused: {quoted(e.contributor)}: {quoted('; '.join(e.reasons))}" for e in refused)
    lines += _lines(f"Gate: {escaped(describe_trial(trial))}" for trial in record.trials)
    lines += _lines(escaped(note) for note in record.notes)
    return "\n".join(f"- {line}" for line in lines)


def _first(words: Iterable[str], separator: str) -> str:
    found = list(words)
    more = [f"and {len(found) - MOST_ROWS:,} more"] if len(found) > MOST_ROWS else []
    return separator.join([*found[:MOST_ROWS], *more])


def _lines(words: Iterable[str]) -> list[str]:
    found = list(words)
    more = [f"and {len(found) - MOST_LINES:,} more of these"] if len(found) > MOST_LINES else []
    return [*found[:MOST_LINES], *more]


def _credit(records: Sequence[RoundRecord]) -> str:
    """Of everybody who contributed, in all rounds; and what leaving one out in this round took away."""
    everybody = credits_of(records)
    if not everybody:
        return ""
    this_round = {worth.contributor: describe(worth.gain) for worth in records[-1].worths}
    rows = [_credit_row(credit, this_round) for credit in everybody[:MOST_ROWS]]
    titles = ["contributor", "fused", "refused", "worth so far", "helped, hurt", "worth in this round"]
    text = _markdown(titles, rows)
    if len(everybody) > MOST_ROWS:
        text += f"\n\nAnd {len(everybody) - MOST_ROWS:,} more: see `rounds/`."
    if any(credit.num_measured for credit in everybody):
        text += (
            "\n\nWorth: the points on validation splits of the held-out tasks that the base loses where the "
            "contribution is left out. Helped, hurt: rounds in which the interval lies above, below 0."
        )
    return text


def _credit_row(credit: Credit, this_round: Mapping[str, str]) -> list[str]:
    measured = credit.num_measured > 0
    return [
        quoted(credit.contributor).replace("|", r"\|"),
        str(credit.num_fused),
        str(credit.num_refused),
        f"{credit.worth:+.2f}" if measured else "",
        f"{credit.num_helped}, {credit.num_hurt} of {credit.num_measured}" if measured else "",
        this_round.get(credit.contributor, ""),
    ]


def _lineage(record: RoundRecord) -> str:
    if record.parent is None:
        return ""
    return (
        f"Round 0 is the pretrained model{_named(record, ' ')}; the base of every round is at its tag, "
        f"`{tag_name(0)}` to `{tag_name(record.round_index)}`. This one was made from revision "
        f"{quoted(record.parent)}."
    )


def _reproduce(record: RoundRecord, repo: str | None) -> str:
    text = (
        f"`{record_path(record.round_index)}` holds what went into this base (each contribution's "
        "revision and digest, the rule with every option and seed), every score, and the digest of what came "
        "out; `federation.yaml` holds the policy."
    )
    if repo is None:
        return text
    commands = (
        f"coldfusion status {repo}\ncoldfusion evaluate {repo}@{tag_name(record.round_index)} --tasks SUITE"
    )
    return f"{text}\n\n```sh\n{commands}\n```"


def _markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
