"""The model card of a round as the Hub reads it: metadata that holds every score, the text, one picture.

`huggingface_hub`'s own card classes write it. Every score is a result of `model-index`, which
`model_info(...).card_data.eval_results` gives back with its exact value.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from coldfusion.cardtext import README, Card, card_text, is_model_name, on_one_line
from coldfusion.hub import Hub
from coldfusion.records import RoundRecord, TaskScore
from hub_sync.address import repo_name
from hub_sync.picture import gain_picture

PICTURE = "figures/gain.png"
LONGEST = 200_000
"""Characters of metadata: some hundreds of scores. What is too much is left to the record."""
LONGEST_NAME = 100

TAGS = ["coldfusion", "federated-learning", "model-merging"]
METRIC_IDS = {
    "accuracy": "accuracy",
    "macro_f1": "f1",
    "matthews": "matthews_correlation",
    "spearman": "spearmanr",
    "pearson": "pearsonr",
    "loss": "loss",
    "credit": "credit",  # theirs has no name for it
}
"""Our metrics -> what https://hf.co/metrics calls them."""


def card_for(hub: Hub) -> Card:
    """What makes the cards of a federation. They name its repo, not the address it was reached at."""
    return partial(model_card, repo=repo_name(hub))


def model_card(records: Sequence[RoundRecord], *, repo: str | None = None) -> dict[str, bytes]:
    """README.md of the newest round, and its picture where there is something to draw; path -> contents."""
    picture = gain_picture(records)
    text = card_text(records, repo=repo, picture=None if picture is None else PICTURE)
    card = ModelCard(f"---\n{_metadata(records[-1], repo)}\n---\n\n{text}")
    return {README: str(card).encode()} | ({} if picture is None else {PICTURE: picture})


def eval_results(scores: Iterable[TaskScore]) -> list[EvalResult]:
    """The scores as results of `model-index`, those on held-out tasks first."""
    return [_eval_result(score) for score in sorted(scores, key=lambda score: not score.held_out)]


def _metadata(record: RoundRecord, repo: str | None) -> str:
    """As YAML."""
    results = eval_results(record.evaluation.scores)
    while len(text := _card_data(record, repo, results).to_yaml()) > LONGEST:
        results = results[: int(0.95 * len(results) * LONGEST / len(text))]
    return text


def _card_data(record: RoundRecord, repo: str | None, results: list[EvalResult]) -> ModelCardData:
    lineage: dict[str, Any] = {}
    if record.pretrained and is_model_name(record.pretrained):
        # On the Hub, a merge is one of models that it has. What is fused here are deltas of this one.
        lineage = {"base_model": record.pretrained, "base_model_relation": "finetune"}
    name = (repo or "coldfusion").split("/")[-1]
    return ModelCardData(
        **lineage,
        library_name="transformers",
        pipeline_tag="feature-extraction",
        tags=TAGS,
        model_name=name if results else None,
        eval_results=results or None,
    )


def _eval_result(score: TaskScore) -> EvalResult:
    task, protocol = _name(score.task), _name(score.protocol)
    kind = "held-out" if score.held_out else "contributed"
    return EvalResult(
        task_type="text-classification",
        dataset_type=_dataset_id(score.task),
        dataset_name=task,
        dataset_split="test",
        metric_type=METRIC_IDS[score.metric],
        metric_value=score.score,
        metric_name=f"{score.metric} ({protocol}, {kind} task, seed {score.seed})",
        metric_config="macro" if score.metric == "macro_f1" else None,
        metric_args={
            "protocol": protocol,
            "held_out": score.held_out,
            "seed": score.seed,
            "num_examples": score.num_examples,
        },
    )


def _name(text: str) -> str:
    return on_one_line(text)[:LONGEST_NAME].strip() or "unnamed"


def _dataset_id(task: str) -> str:
    """The task's name if that could be a data set's on the Hub, else one made of it that no other task gets.

    Results of the same data set share what is said of it.
    """
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", task):
        return task
    digest = hashlib.sha256(task.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', task)[:40].strip('-') or 'task'}-{digest}"
