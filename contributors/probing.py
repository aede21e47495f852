"""The probe score: a linear probe on the frozen base, the paper's ColD-Frozen computed the fast way.

Every example passes through the base once; the pooled features are kept, and scikit-learn fits the head on
them. Training the head with the body frozen would repeat that forward pass in every epoch.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from contributors.config import ProbeConfig
from contributors.data import Examples
from contributors.devices import autocast, device
from contributors.encoding import BATCH_TOKENS, batches_by_length, encode
from contributors.models import POOLINGS

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse regularisation strengths that a probe chooses from by cross-validation."""


def features(
    body: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: Examples, config: ProbeConfig
) -> NDArray[np.float32]:
    """The pooled last hidden state of every example, (number of examples, hidden)."""
    rows = encode(examples, tokenizer, max_length=config.max_length)
    found = np.empty((len(rows), body.config.hidden_size), dtype=np.float32)
    pool, where = POOLINGS[config.pooling], device()
    encoder: nn.Module = body
    encoder.to(where).eval()
    with torch.inference_mode(), autocast(config.bf16):
        for positions, batch in batches_by_length(rows, tokenizer, tokens=BATCH_TOKENS):
            inputs = {name: tensor.to(where) for name, tensor in batch.items()}
            pooled = pool(body(**inputs).last_hidden_state, inputs["attention_mask"])
            found[positions] = pooled.float().cpu().numpy()
    return found


def probe(
    train: NDArray[np.float32],
    labels: NDArray[np.int64],
    test: NDArray[np.float32],
    *,
    folds: int,
    seed: int,
) -> NDArray[np.int64]:
    """The labels that a linear probe fitted on (train, labels) gives the test features.

    Logistic regression on standardised features, its regularisation chosen by cross-validation. Shapes:
    train (n, hidden), labels (n,), test (m, hidden); the answer is (m,).
    """
    classifier = LogisticRegressionCV(
        Cs=STRENGTHS,
        cv=KFold(min(folds, len(labels)), shuffle=True, random_state=seed % 2**32),
        l1_ratios=(0.0,),  # L2 alone
        scoring="accuracy",
        max_iter=1000,
        use_legacy_attributes=False,
    )
    model = make_pipeline(StandardScaler(), classifier)
    model.fit(train, labels)
    predicted: NDArray[np.int64] = model.predict(test)
    return predicted
