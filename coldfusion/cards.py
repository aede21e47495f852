"""The model card of a round: README.md beside the checkpoint, for whoever finds the base on the Hub."""

from __future__ import annotations

from coldfusion.records import Evaluation, Gain, RoundRecord

_CARD = """\
---
library_name: transformers
tags:
- coldfusion
- federated-learning
- model-merging
---

# Base of round {index}

{lineage}

```python
from transformers import AutoModel, AutoTokenizer

model = AutoModel.from_pretrained("<this repo>", revision="round-{index:04d}")
tokenizer = AutoTokenizer.from_pretrained("<this repo>", revision="round-{index:04d}")
```

{scores}

What went into every round and the digest of what came out is in `rounds/`, the policy in `federation.yaml`.
"""


def model_card(record: RoundRecord) -> str:
    """README.md for the base that `record` published."""
    if record.parent is None:
        lineage = "The pretrained model that this federation starts from."
    else:
        lineage = (
            f"{record.num_accepted} of {len(record.entries)} contributions were fused "
            f"({record.fuser}, outer_lr {record.outer_lr:g}) into the base of revision `{record.parent}`. "
            "No data was shared: only weight deltas travelled (ColD Fusion, Don-Yehiya et al., ACL 2023)."
        )
    return _CARD.format(index=record.round_index, lineage=lineage, scores=_table(record.evaluation))


def _table(evaluation: Evaluation) -> str:
    groups = sorted({(s.protocol, s.held_out) for s in evaluation.scores}, key=lambda g: (g[0], not g[1]))
    if not groups:
        return "This base was not evaluated."
    rows = ["| score | tasks | mean | gain on the pretrained model |", "| --- | --- | --- | --- |"]
    for protocol, held_out in groups:
        kind = "held-out" if held_out else "contributed"
        gain = describe(evaluation.gain(protocol, held_out=held_out))
        mean = evaluation.mean_score(protocol, held_out=held_out)
        rows.append(f"| {protocol} | {kind} | {mean:.2f} | {gain} |")
    return "\n".join(rows)


def describe(gain: Gain | None, digits: int = 2) -> str:
    """`+1.23 [+0.80, +1.66]`: points and their 95 % interval."""
    if gain is None:
        return ""
    return f"{gain.mean:+.{digits}f} [{gain.low:+.{digits}f}, {gain.high:+.{digits}f}]"
