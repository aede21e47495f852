"""Causal language models scored by lm-eval itself, where the extra is installed; our own part everywhere."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from coldfusion.cli import app
from coldfusion.errors import BaseError, ConfigError, DataError
from contributors import lmtasks
from contributors.config import LmEvalConfig
from contributors.lmeval import LmJob, by_document, lm_jobs
from contributors.lmtasks import metrics_of
from contributors.models import check_causal
from contributors.suites import read_suite
from tests.tasks import PLEASANT, UNPLEASANT, sentences

needs_lm_eval = pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason="needs [lm-eval]")
# What lm-eval and what it imports warn of is theirs.
pytestmark = pytest.mark.filterwarnings("default")
CHOICES = [PLEASANT[0], UNPLEASANT[0], PLEASANT[3]]

TASK = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
doc_to_text: "{{{{text}}}} and"
metadata: {{version: 1.0}}
"""
KINDS = {
    "moods": "output_type: multiple_choice\ndoc_to_choice: choices\ndoc_to_target: gold\n"
    "metric_list: [{metric: acc}, {metric: acc_norm}]\n",
    "echo": 'output_type: generate_until\ndoc_to_target: "{{choices[gold]}}"\n'
    "generation_kwargs: {max_gen_toks: 2}\n"
    "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\n",
    "surprise": 'output_type: loglikelihood_rolling\ndoc_to_target: "{{text}}"\n'
    "metric_list: [{metric: word_perplexity}]\n",
}
SUITE = """\
lm_eval: {tasks: [feelings], include_path: own, metrics: [acc, acc_norm, exact_match]}
pool: {backend: serial}
"""


def job(*metrics: tuple[str, str]) -> LmJob:
    return LmJob(name="moods", metrics=metrics, digest="0", config=LmEvalConfig(tasks=["moods"]))


def test_what_was_logged_becomes_numbers_by_document() -> None:
    def logged(doc: int, filtered: str, **values: object) -> dict[str, object]:
        return {"doc_id": doc, "filter": filtered, "metrics": list(values), **values}

    found = by_document(
        [
            logged(1, "none", acc=True, f1=(0, 1)),
            logged(0, "none", acc=np.float64(0.25), f1=(1, 1)),
            logged(0, "last", acc=1),
            logged(1, "last", acc=0),
        ]
    )
    assert {name: values.tolist() for name, values in found.items()} == {
        "acc,none": [0.25, 1.0],
        "acc,last": [1.0, 0.0],
    }


def test_the_score_of_a_task_is_the_mean_of_its_documents() -> None:
    kept = {"moods,acc,none": np.array([0.25, 1.0]), "moods,ppl,none": np.array([2.0, 0.0])}
    (one,) = job(("moods", "acc,none")).outcomes(kept)
    assert (one.task, one.protocol, one.score.score, one.score.num_examples) == (
        "moods (acc)",
        "lm-eval",
        62.5,
        2,
    )
    for metric in ("ppl,none", "f1,none"):
        with pytest.raises(DataError, match=f"task 'moods': {metric} is not within 0 and 1 for every"):
            job(("moods", metric)).outcomes(kept)


def test_metrics_are_those_that_a_task_has_by_its_first_filter_or_the_one_named() -> None:
    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    task = SimpleNamespace(
        config=SimpleNamespace(filter_list=[{"name": "strict"}, {"name": "flexible"}]),
        aggregation=lambda: {"exact_match": mean, "wrong": mean, "bleu": max},
        higher_is_better=lambda: {"exact_match": True, "wrong": False},
    )

    def chosen(*metrics: str) -> tuple[str, ...]:
        return metrics_of("sums", task, LmEvalConfig(tasks=["sums"], metrics=list(metrics)))

    assert chosen("acc", "exact_match") == ("exact_match,strict",)
    assert chosen("exact_match,flexible", "exact_match") == ("exact_match,flexible", "exact_match,strict")
    for odd in ("wrong", "bleu", "exact_match,none"):
        with pytest.raises(ConfigError, match=f"none of the metrics {odd}; it has exact_match,strict, exact"):
            chosen(odd)


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmtasks, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'coldfusion\[lm-eval\]'"):
        lm_jobs(LmEvalConfig(tasks=["hellaswag"]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tasks: [{name: a, train: b, test: c}]\nlm_eval: {tasks: [x]}", "make a suite of each"),
        ("lm_eval: {tasks: [x], include_path: nowhere}", "include_path nowhere: no such folder"),
        ("lm_eval: {tasks: []}", "lm_eval.tasks names nothing"),
        ("lm_eval: {tasks: [x], limit: 0}", "limit 0 is not above 0"),
        ("lm_eval: {tasks: [x], shots: 0}", "shots"),
    ],
)
def test_a_suite_that_cannot_be_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "suite.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_suite(tmp_path / "suite.yaml")


def test_protocols_are_for_encoders(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    with pytest.raises(ConfigError, match="protocol 'probe' is for encoders"):
        read_suite(tmp_path / "suite.yaml", protocols=["probe"])


def test_an_encoder_and_a_body_without_a_head_are_no_language_models(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(BaseError, match="bert is no causal language model"):
        check_causal(str(tiny_base))
    config = {"model_type": "llama", "architectures": ["LlamaModel"], "tie_word_embeddings": False}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(BaseError, match="the head is missing, a LlamaModel predicts no tokens"):
        check_causal(str(tmp_path))


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small language models, a folder with a group of tasks, and a suite of it."""
    room = tmp_path_factory.mktemp("language")
    texts, labels = sentences(16, seed=0)
    for seed, name in enumerate(("one", "two")):
        write_language_model(room / name, sentences(200, seed=0)[0], seed=seed)
    (room / "own").mkdir()
    rows = [
        {"text": text, "choices": CHOICES, "gold": i % 3 if label == "good" else 1}
        for i, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    data = room / "own" / "data.jsonl"
    data.write_text("\n".join(json.dumps(row) for row in rows))
    for name, kind in KINDS.items():
        (room / "own" / f"{name}.yaml").write_text(TASK.format(name=name, data=data) + kind)
    (room / "own" / "feelings.yaml").write_text("group: feelings\ntask: [moods, echo]\n")
    (room / "suite.yaml").write_text(SUITE)
    return room


def write_language_model(folder: Path, texts: list[str], *, seed: int) -> None:
    """A Llama of two layers, and a byte-level tokenizer that knows the words of `texts`."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    marks = {"bos_token": "<s>", "eos_token": "<s>", "pad_token": "<s>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **marks).save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.5,
        bos_token_id=0,
        eos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def picked(model: Path, rows: list[dict[str, object]]) -> list[bool]:
    """Whether the likeliest choice is the right one, by the language model alone."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, lm = AutoTokenizer.from_pretrained(model), AutoModelForCausalLM.from_pretrained(model).eval()
    found = []
    for row in rows:
        start = len(tokenizer(f"{row['text']} and")["input_ids"])
        likely = []
        for choice in CHOICES:
            ids = torch.tensor(tokenizer(f"{row['text']} and {choice}")["input_ids"])
            logs = lm(ids[None]).logits[0].detach().log_softmax(-1)
            likely.append(sum(float(logs[i - 1, ids[i]]) for i in range(start, len(ids))))
        found.append(int(np.argmax(likely)) == row["gold"])
    return found


def evaluate(room: Path, *models: str) -> tuple[str, list[dict[str, object]]]:
    line = ["evaluate", *(str(room / model) for model in models), "--tasks", str(room / "suite.yaml")]
    said = CliRunner().invoke(app, [*line, "--json", str(room / "found.json")], catch_exceptions=False).output
    return said, json.loads((room / "found.json").read_text())


@needs_lm_eval
def test_language_models_are_compared_document_by_document(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(room / "state"))
    said, found = evaluate(room, "one", "two")
    assert "scored feelings (lm-eval), 2 of 2" in said
    scores = [{s["task"]: s["score"] for s in one["evaluation"]["scores"]} for one in found]
    assert scores[0].keys() == {"moods (acc)", "moods (acc_norm)", "echo (exact_match)"}
    rows = [json.loads(line) for line in (room / "own" / "data.jsonl").read_text().splitlines()]
    right = [np.mean(picked(room / model, rows)) for model in ("one", "two")]
    assert [one["moods (acc)"] for one in scores] == pytest.approx([100 * share for share in right])
    gain = found[1]["evaluation"]["gains"][0]
    assert (gain["protocol"], gain["num_tasks"], gain["held_out"]) == ("lm-eval", 3, True)
    differences = [scores[1][task] - scores[0][task] for task in scores[0]]
    assert gain["mean"] == pytest.approx(np.mean(differences), abs=1e-3)
    assert gain["low"] < gain["high"]
    assert "scored" not in evaluate(room, "one", "two")[0]  # nothing twice


@needs_lm_eval
def test_what_lm_eval_cannot_score_is_named(room: Path) -> None:
    own = {"include_path": str(room / "own")}
    with pytest.raises(ConfigError, match="'surprise' has no metric that is a mean over .*; it has word_"):
        lm_jobs(LmEvalConfig(tasks=["surprise"], **own))
    with pytest.raises(ConfigError, match="'moods' has none of the metrics f1; it has acc,none, acc_norm,no"):
        lm_jobs(LmEvalConfig(tasks=["moods"], metrics=["f1"], **own))
    with pytest.raises(ConfigError, match="task 'moods' is named twice, once by 'moods'"):
        lm_jobs(LmEvalConfig(tasks=["feelings", "moods"], **own))
    with pytest.raises(ConfigError, match="unknown task 'hellaswagg'"):
        lm_jobs(LmEvalConfig(tasks=["hellaswagg"], **own))


@needs_lm_eval
def test_other_documents_and_other_prompts_are_other_scores(room: Path) -> None:
    def digest(**settings: object) -> str:
        config = LmEvalConfig(tasks=["moods"], include_path=str(room / "own"), **settings)
        return lm_jobs(config)[0].digest

    plain = digest()
    assert plain == digest(metrics=["acc_norm"])  # chosen among what is kept
    assert len({plain, digest(limit=5), digest(num_fewshot=2)}) == 3
