"""Bodies and heads: any encoder that `AutoModel` opens, pooled, with a private linear head on top.

The body is what is shared and fused. A head is made anew for every fine-tune, never leaves and is never
fused, as in IBM's released code for ColD Fusion (Don-Yehiya et al. 2023), which averages `base_model`
only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

from coldfusion.checkpoint import Checkpoint
from coldfusion.dtypes import Array
from coldfusion.errors import BaseError, StorageError, writing
from contributors.data import Scale

Pooling = Callable[[Tensor, Tensor], Tensor]
"""(hidden states (batch, tokens, hidden), attention mask (batch, tokens)) -> (batch, hidden)."""


def mean_pooling(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens that are not padding (Reimers and Gurevych 2019)."""
    weight = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1.0)


def first_token_pooling(hidden: Tensor, mask: Tensor) -> Tensor:
    """The first token ([CLS]), as BERT's and RoBERTa's own classifiers take it (Devlin et al. 2019)."""
    return hidden[:, 0]


POOLINGS: dict[str, Pooling] = {"mean": mean_pooling, "cls": first_token_pooling}


class Classifier(nn.Module):
    """A body with a head for one task.

    Called like a transformers model; returns `loss` (with labels) and `logits`, (batch, num_labels). Where
    labels are numbers, which have a scale, the head's one output is in units of their spread around their
    mean, so that lr and loss are of the usual size whatever the unit; logits and labels are in the labels'.
    """

    def __init__(
        self,
        body: PreTrainedModel,
        *,
        num_labels: int,
        pooling: str,
        dropout: float,
        seed: int,
        scale: Scale | None = None,
    ) -> None:
        super().__init__()
        self.body = body
        self.scale = scale
        self.pool = POOLINGS[pooling]
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(body.config.hidden_size, num_labels)
        generator = torch.Generator().manual_seed(seed)
        nn.init.normal_(self.head.weight, std=0.02, generator=generator)
        nn.init.zeros_(self.head.bias)

    def forward(self, labels: Tensor | None = None, **inputs: Tensor) -> dict[str, Tensor]:
        hidden = self.body(**inputs).last_hidden_state
        pooled = self.dropout(self.pool(hidden, inputs["attention_mask"]))
        if self.scale is not None:
            return self._numbers(self.scale, pooled, labels)
        logits = self.head(pooled)
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits.float(), labels), "logits": logits}

    def _numbers(self, scale: Scale, pooled: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        """The loss is half the squared error: -log of a normal density around the prediction."""
        with torch.autocast(pooled.device.type, enabled=False):  # bf16 would round numbers to three digits
            found = self.head(pooled.float())
        logits = found * scale.spread + scale.mean
        if labels is None:
            return {"logits": logits}
        wanted = (labels.to(found.dtype) - scale.mean) / scale.spread
        return {"loss": 0.5 * nn.functional.mse_loss(found[:, 0], wanted), "logits": logits}

    def set_head(self, weight: Tensor, bias: Tensor) -> None:
        """Let logits be pooled @ weight.T + bias. Shapes: (num_labels, hidden), (num_labels,)."""
        if self.scale is not None:
            weight, bias = weight / self.scale.spread, (bias - self.scale.mean) / self.scale.spread
        with torch.no_grad():
            self.head.weight.copy_(weight)
            self.head.bias.copy_(bias)


def load_body(source: Path | str) -> PreTrainedModel:
    """The encoder in a checkpoint directory (or on the Hub), on the CPU, widened to fp32."""
    # On a CPU the backward pass of sdpa runs in slow fp32 under bf16 autocast: eager is 1.3 times as fast.
    attention = {} if torch.cuda.is_available() else {"attn_implementation": "eager"}
    model: PreTrainedModel = AutoModel.from_pretrained(source, dtype=torch.float32, **attention)
    return model


def set_dropout(body: nn.Module, probability: float) -> None:
    """Drop activations and attention with this probability in training, whatever the base's config says."""
    for module in body.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability


def load_tokenizer(source: Path | str) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(source)
    return tokenizer


def prepare_base(source: str, into: Path) -> None:
    """Write what a federation starts from into the directory `into`.

    The body as safetensors, config, tokenizer.

    source: a local directory or a model on the Hub. Heads in it are left out. Raises BaseError where it
    is not an encoder with a tokenizer.
    """
    check_encoder(source)
    try:
        body, tokenizer = load_body(source), load_tokenizer(source)
    except (OSError, ValueError, KeyError) as exc:
        raise BaseError(f"{source}: cannot be opened: {_first_line(exc)}") from exc
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        # Where the files are missing, transformers makes a tokenizer that knows its special tokens alone.
        raise BaseError(f"{source}: has no tokenizer beside the model")
    with writing(into):
        try:
            body.save_pretrained(into)
            tokenizer.save_pretrained(into)
        except OSError:
            raise
        except Exception as exc:  # what safetensors and tokenizers make of a disk that refuses, each its own
            raise StorageError(f"cannot write {into}: {_first_line(exc)}") from exc
    with Checkpoint(into) as written:
        state = body.state_dict()
        odd = [n for n, t in written.body.items() if n not in state or tuple(state[n].shape) != t.shape]
        if odd:
            raise BaseError(f"{source}: saved under other names than it is trained under, first {odd[0]!r}")


def tensor_reader(body: nn.Module) -> Callable[[str], Array]:
    """Name -> the values of that tensor as a numpy array in fp32 (fp64 where the body has it)."""
    state: dict[str, Tensor] = body.state_dict()

    def read(name: str) -> Array:
        tensor = state[name].detach().cpu()
        array: Array = (tensor if tensor.dtype == torch.float64 else tensor.float()).numpy()
        return array

    return read


def check_encoder(source: str) -> None:
    """Raise BaseError where `source` is no encoder, judging by its config alone."""
    config = _config_of(source)
    if not _is_encoder(config):
        raise BaseError(
            f"{source}: {config.model_type} is not an encoder; a base is one that AutoModelForMaskedLM "
            "knows, like bert, roberta or modernbert"
        )


def check_causal(source: str) -> None:
    """Raise BaseError where `source` is no causal language model with a head, judging by its config alone."""
    config = _config_of(source)
    if _is_encoder(config) or config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise BaseError(
            f"{source}: {config.model_type} is no causal language model; lm_eval scores what "
            "AutoModelForCausalLM knows, like llama, qwen3 or gpt2"
        )
    bare = [MODEL_MAPPING_NAMES.get(config.model_type)] == config.architectures
    if bare and not getattr(config, "tie_word_embeddings", False):
        raise BaseError(f"{source}: the head is missing, a {config.architectures[0]} predicts no tokens")


def _config_of(source: str) -> Any:
    try:
        return AutoConfig.from_pretrained(source)
    except (OSError, ValueError, KeyError) as exc:
        raise BaseError(f"{source}: no model can be had: {_first_line(exc)}") from exc


def _is_encoder(config: Any) -> bool:
    both = config.is_encoder_decoder or getattr(config, "is_decoder", False)
    return config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not both


def _first_line(exc: BaseException) -> str:
    return next(iter(str(exc).strip().splitlines()), type(exc).__name__)
