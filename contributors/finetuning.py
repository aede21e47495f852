"""Fine-tuning a body on one task with `transformers.Trainer`; the defaults are the paper's.

Don-Yehiya et al. 2023, appendix B, and IBM's model-recycling FAQ: AdamW, lr 5e-5 with linear decay,
weight decay 0.01, batch 256, at most 10 epochs, stop when accuracy on a validation split has not risen by
0.001 within 256,000 training examples, looked at every 12,800. Where labels are numbers, R² stands for
accuracy.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import r2_score
from torch import nn
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from coldfusion.errors import DataError
from coldfusion.seeds import seed_for
from contributors.config import ProbeConfig, TrainingConfig
from contributors.data import Examples
from contributors.devices import device, wants_bf16
from contributors.encoding import encode, pass_forward
from contributors.lora import add_lora, fold_lora
from contributors.models import Classifier, load_body, load_tokenizer, set_dropout
from contributors.probing import features, fit_head
from contributors.reporting import Report, unheard


@dataclass(frozen=True, slots=True)
class Finetuned:
    """A body after training on one task, and the head that belongs to it."""

    classifier: Classifier
    tokenizer: PreTrainedTokenizerBase
    num_examples: int  # distinct training examples
    num_passes: int  # training examples, each counted as often as it was seen
    seconds: float  # inside Trainer.train


def finetune(
    base: Path, examples: Examples, config: TrainingConfig, *, seed: int, report: Report = unheard
) -> Finetuned:
    """Fine-tune body and a fresh head on `examples`, starting from the checkpoint directory `base`.

    The same base, examples, config and seed give the same bytes on the same kind of machine with the same
    number of torch threads. Raises DataError where training leaves the finite numbers.
    """
    examples = examples.sample(config.max_examples, seed=seed_for(seed, "sample"))
    tokenizer, body = load_tokenizer(base), load_body(base)
    if config.dropout is not None:
        set_dropout(body, config.dropout)
    classifier = Classifier(
        body,
        num_labels=examples.num_labels,
        pooling=config.pooling,
        dropout=config.head_dropout,
        seed=seed_for(seed, "head"),
        scale=examples.scale,
    )
    stopping = config.early_stopping
    training, validation = examples, None
    if config.epochs * len(examples.rows) > stopping.patience:  # else it can not come to stopping early
        training, validation = examples.split(stopping.validation_share, seed=seed_for(seed, "split"))
    if config.trained == "head":
        body.requires_grad_(False)
    elif config.lora_rank is not None:
        classifier.body = add_lora(body, config.lora_rank, seed=seed_for(seed, "lora"))
    if config.head_start == "probe":
        _start_from_probe(classifier, tokenizer, training, config, seed=seed)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=classifier,
            args=_arguments(config, scratch, seed=seed, validates=validation is not None),
            train_dataset=encode(training, tokenizer, max_length=config.max_length),
            eval_dataset=validation and encode(validation, tokenizer, max_length=config.max_length),
            data_collator=DataCollatorWithPadding(tokenizer),
            compute_metrics=_quality,
            optimizers=(_optimizer(classifier, config), None),
            callbacks=[_Reporter(report, len(training.rows)), *_stoppers(config, validation is not None)],
        )
        trainer.remove_callback(PrinterCallback)  # it would print the metrics as dictionaries
        started = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - started
    if config.lora_rank is not None and config.trained == "all":
        classifier.body = fold_lora(classifier.body)
    if not all(bool(parameter.isfinite().all()) for parameter in classifier.parameters()):
        raise DataError(f"training diverged to NaN or Inf; try a smaller lr than {config.lr:g}")
    return Finetuned(
        classifier=classifier,
        tokenizer=tokenizer,
        num_examples=len(training.rows),
        num_passes=round(len(training.rows) * (trainer.state.epoch or 0.0)),
        seconds=seconds,
    )


def _start_from_probe(
    classifier: Classifier,
    tokenizer: PreTrainedTokenizerBase,
    training: Examples,
    config: TrainingConfig,
    *,
    seed: int,
) -> None:
    """Give the head what a linear probe learns from the frozen body (LP-FT, Kumar et al. 2022).

    A random head's first gradients push the body about for nothing.
    """
    settings = ProbeConfig(pooling=config.pooling, max_length=config.max_length, bf16=config.bf16)
    found = features(classifier.body, tokenizer, training, settings)
    fitted = fit_head(found, training, folds=settings.folds, seed=seed)
    classifier.set_head(torch.from_numpy(fitted.weight), torch.from_numpy(fitted.bias))


def _arguments(config: TrainingConfig, scratch: str, *, seed: int, validates: bool) -> TrainingArguments:
    return TrainingArguments(
        output_dir=scratch,
        seed=seed % 2**32,
        learning_rate=config.lr,
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        weight_decay=config.weight_decay,
        warmup_steps=config.warmup,
        lr_scheduler_type="linear",
        train_sampling_strategy="group_by_length",
        bf16=wants_bf16(config.bf16),
        use_cpu=device().type == "cpu",
        eval_strategy="steps" if validates else "no",
        eval_steps=max(1, config.early_stopping.every // config.batch_size),
        metric_for_best_model="quality" if validates else None,
        greater_is_better=True if validates else None,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        remove_unused_columns=False,  # it would look for the inputs' names in Classifier.forward
        disable_tqdm=True,
        dataloader_pin_memory=device().type == "cuda",
        label_names=["labels"],
    )


def _optimizer(classifier: Classifier, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019); biases and norms do not decay, as in Trainer's own."""
    decay: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    trained = ((name, p) for name, p in classifier.named_parameters() if p.requires_grad)
    for name, parameter in trained:
        decay.setdefault((name.startswith("head."), parameter.ndim > 1), []).append(parameter)
    groups = [
        {
            "params": parameters,
            "lr": (config.head_lr or config.lr) if is_head else config.lr,
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (is_head, decays), parameters in decay.items()
    ]
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def _stoppers(config: TrainingConfig, validates: bool) -> list[TrainerCallback]:
    stopping = config.early_stopping
    looks = max(1, stopping.patience // stopping.every)
    return [EarlyStoppingCallback(looks, stopping.gain)] if validates else []


def _quality(prediction: EvalPrediction) -> dict[str, float]:
    """Accuracy, or R² of labels that are numbers. 1 is perfect."""
    logits, labels = prediction.predictions, prediction.label_ids
    assert isinstance(logits, np.ndarray)
    if logits.shape[1] == 1:
        return {"quality": float(r2_score(labels, logits[:, 0]))}
    return {"quality": float((logits.argmax(axis=-1) == labels).mean())}


class _Reporter(TrainerCallback):
    """Passes the number of examples seen on to whoever shows progress."""

    def __init__(self, report: Report, num_examples: int) -> None:
        self.report, self.num_examples = report, num_examples

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        total = round(self.num_examples * args.num_train_epochs)
        self.report(min(total, state.global_step * args.train_batch_size), total)


def predict(finetuned: Finetuned, examples: Examples, config: TrainingConfig) -> NDArray[np.float64]:
    """The logits that a finetuned classifier gives each example, (number of examples, num_labels).

    Where labels are numbers, the one logit is what is predicted, in the labels' unit.
    """
    rows = encode(examples, finetuned.tokenizer, max_length=config.max_length)
    classifier: nn.Module = finetuned.classifier.to(device()).eval()
    return pass_forward(
        lambda inputs: classifier(**inputs)["logits"],
        rows,
        finetuned.tokenizer,
        width=examples.num_labels,
        bf16=config.bf16,
    ).astype(np.float64)
