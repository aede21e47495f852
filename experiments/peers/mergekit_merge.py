"""One merge by mergekit, through its own command: python mergekit_merge.py CONFIG.yml OUT [--masks FILE].

--masks also records the Bernoulli masks that it draws, as `tensor/i` with i counting the models that are not
the base, uint8: another implementation can replay them and must then come to the same values.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from mergekit.merge_methods.generalized_task_arithmetic import GeneralizedTaskArithmeticMerge
from mergekit.scripts.run_yaml import main as mergekit_yaml
from safetensors.torch import save_file


def record_masks() -> dict[str, torch.Tensor]:
    """From here on every mask that a sparsifying method draws is kept in what this returns."""
    masks: dict[str, torch.Tensor] = {}
    drawn: list[torch.Tensor] = []
    bernoulli, merge_group = torch.bernoulli, GeneralizedTaskArithmeticMerge.merge_group

    def drawing(*args: Any, **kwargs: Any) -> torch.Tensor:
        drawn.append(bernoulli(*args, **kwargs))
        return drawn[-1]

    def merging(self: Any, group: Any, /, **parameters: Any) -> torch.Tensor:
        drawn.clear()
        merged: torch.Tensor = merge_group(self, group, **parameters)
        for i, mask in enumerate(drawn):
            masks[f"{group.metadata.name}/{i}"] = mask.to(torch.uint8).reshape(merged.shape).contiguous()
        return merged

    torch.bernoulli = drawing
    GeneralizedTaskArithmeticMerge.merge_group = merging
    return masks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("out")
    parser.add_argument("--masks")
    asked = parser.parse_args()
    masks = record_masks() if asked.masks else {}
    # There is no tokenizer beside these weights; the rest is what the command does by itself.
    options = ["--no-copy-tokenizer", "--lazy-unpickle", "--random-seed", "0"]
    mergekit_yaml([asked.config, asked.out, *options], standalone_mode=False)
    if asked.masks:
        save_file(masks, asked.masks)


if __name__ == "__main__":
    main()
