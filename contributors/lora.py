"""LoRA: train a low-rank change of every linear layer, then fold it in (Hu et al. 2022).

What comes out is a body like any other. A few thousand examples move all its parameters, mostly at random.
Held to rank r, the delta has less of that noise for the same signal, and bears a larger outer_lr.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel


def add_lora(body: PreTrainedModel, rank: int, *, seed: int) -> Any:
    """The body with everything frozen but new pairs of (rank, in) and (out, rank) beside its linear layers.

    Scaled by 2, whatever the rank: the usual choice of alpha = 2 * rank.
    """
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", lora_dropout=0.0)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers under an old name
        torch.manual_seed(seed)
        return get_peft_model(body, config)


def fold_lora(adapted: Any) -> PreTrainedModel:
    """The body again, each pair's product added to the weight that it stood beside."""
    body: PreTrainedModel = adapted.merge_and_unload()
    return body
