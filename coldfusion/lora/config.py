"""What a PEFT adapter's config says about its arithmetic, and a refusal of what is not plain LoRA.

LoRA adds scale * B A to a weight, scale = alpha / r (Hu et al. 2022), or alpha / sqrt(r) with `use_rslora`
(Kalajdzievski 2023). The rank is read off the factors: r and rank_pattern say the same, or PEFT could not
open the adapter.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coldfusion.errors import TensorMismatch

CONFIG = "adapter_config.json"

_NOT_PLAIN = (
    "use_dora",
    "lora_bias",
    "use_qalora",
    "use_bdlora",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
)
"""Settings with which an adapter is more, or less, than B A beside the base's weights."""

_KEEP_THE_BASE = (True, False, None, "gaussian", "orthogonal", "eva", "mica")
"""Starts that leave the base alone. PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA train from a changed one."""

_PATTERN = re.compile(r"[\w.\\^$|*+-]{1,200}")  # without groups, no stranger's expression takes for ever


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """The settings that decide what a LoRA adapter adds to its base."""

    alpha: float
    alpha_pattern: Mapping[str, float]  # regular expression of module names -> alpha
    is_rank_stabilised: bool
    is_transposed: bool  # whether linear layers store (in, out), as GPT-2's do

    def scale(self, module: str, rank: int) -> float:
        """What B A of this module is multiplied by."""
        alpha = next((a for p, a in self.alpha_pattern.items() if _matches(p, module)), self.alpha)
        return alpha / math.sqrt(rank) if self.is_rank_stabilised else alpha / rank


def read_lora_config(directory: Path) -> LoraConfig:
    """The config in an adapter's directory. Raises TensorMismatch where it is none, or not plain LoRA's."""
    path = directory / CONFIG
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(entries, dict):
            raise ValueError("not an object")
        _check_plain(path, entries)
        return LoraConfig(
            alpha=_number(entries["lora_alpha"]),
            alpha_pattern={_pattern(k): _number(v) for k, v in (entries.get("alpha_pattern") or {}).items()},
            is_rank_stabilised=bool(entries.get("use_rslora")),
            is_transposed=bool(entries.get("fan_in_fan_out")),
        )
    except FileNotFoundError as exc:
        raise TensorMismatch(f"{directory}: no {CONFIG} there, so it is no adapter") from exc
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, re.error) as exc:
        raise TensorMismatch(f"{path}: not the config of a LoRA adapter: {exc!r}") from exc


def _check_plain(path: Path, entries: Mapping[str, Any]) -> None:
    kind, start = entries.get("peft_type"), entries.get("init_lora_weights")
    if kind != "LORA":
        raise TensorMismatch(f"{path}: a {kind} adapter; LORA ones can be fused")
    if odd := [key for key in _NOT_PLAIN if entries.get(key)]:
        raise TensorMismatch(f"{path}: {odd[0]} is set; merge it into its base, and fuse the checkpoint")
    if not any(start == known for known in _KEEP_THE_BASE):
        raise TensorMismatch(
            f"{path}: init_lora_weights is {start!r}, which trains from a changed base; save it with PEFT's "
            "path_initial_model_for_weight_conversion, or merge it and fuse the checkpoint"
        )


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"alpha {value!r} is not a number")
    return float(value)


def _pattern(text: str) -> str:
    if not _PATTERN.fullmatch(text) or sum(text.count(sign) for sign in "*+") > 1:
        raise ValueError(f"alpha_pattern {text!r} is more than a module's name with one * or +")
    re.compile(text)
    return text


def _matches(pattern: str, module: str) -> bool:
    """As PEFT's get_pattern_key has it: at the end of the name, from a dot on."""
    return re.match(rf"(.*\.)?({pattern})$", module) is not None
