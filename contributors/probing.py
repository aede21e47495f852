"""The probe score: a linear probe on the frozen base, the paper's ColD-Frozen computed the fast way.

Every example passes through the base once; the pooled features are kept, and scikit-learn fits the head on
them: logistic regression, or ridge regression where labels are numbers. Training the head with the body
frozen would repeat that forward pass in every epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from joblib import parallel_config
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeCV
from sklearn.model_selection import KFold
from threadpoolctl import threadpool_limits
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from coldfusion.dtypes import Float64
from contributors.config import ProbeConfig
from contributors.data import Examples
from contributors.devices import device
from contributors.encoding import encode, pass_forward
from contributors.models import POOLINGS, load_body, load_tokenizer

STRENGTHS = tuple(10.0 ** (exponent / 2) for exponent in range(-8, 1))
"""Inverse regularisation strengths that a probe chooses from by cross-validation: half decades, 1e-4 to 1."""
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""The same of ridge regression: on the squared weights, per training example."""
ABSENT = -1e4
"""The bias of a label that does not occur in the training data."""
ROUGHLY = 1e-3
"""The tolerance of fits that only choose a strength: half the time. At 1e-2 strengths are not told apart."""
FLAT = 1e-5
"""A feature whose spread is this share of the median one is dead.

MiniLM has three, of spread 1e-9 and less. Standardised and folded into a head, one would get a weight of 1e28
and drown every gradient.
"""


def features(
    body: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: Examples, config: ProbeConfig
) -> NDArray[np.float32]:
    """The pooled last hidden state of every example, (number of examples, hidden)."""
    rows, pool = encode(examples, tokenizer, max_length=config.max_length), POOLINGS[config.pooling]
    encoder: nn.Module = body
    encoder.to(device()).eval()
    return pass_forward(
        lambda inputs: pool(body(**inputs).last_hidden_state, inputs["attention_mask"]),
        rows,
        tokenizer,
        width=body.config.hidden_size,
        bf16=config.bf16,
    )


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """A fitted head: the logits of features x (n, hidden) are x @ weight.T + bias.

    Shapes: weight (num_labels, hidden), bias (num_labels,), fp64.
    """

    weight: Float64
    bias: Float64

    def logits(self, found: NDArray[np.float32]) -> Float64:
        """Of every row, (n, num_labels)."""
        logits: Float64 = found @ self.weight.T + self.bias
        return logits

    def predict(self, found: NDArray[np.float32]) -> NDArray[np.int64]:
        """The label of every row, (n,)."""
        predicted: NDArray[np.int64] = self.logits(found).argmax(axis=1)
        return predicted


@dataclass(frozen=True, slots=True)
class Probed:
    """A frozen base and what a linear probe learnt on it."""

    body: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    head: LinearProbe


def probe(base: Path, train: Examples, config: ProbeConfig, *, seed: int) -> Probed:
    """Fit a probe of these examples on the checkpoint directory `base`."""
    body, tokenizer = load_body(base), load_tokenizer(base)
    found = features(body, tokenizer, train, config)
    return Probed(body, tokenizer, fit_head(found, train, folds=config.folds, seed=seed))


def fit_head(train: NDArray[np.float32], examples: Examples, *, folds: int, seed: int) -> LinearProbe:
    """A linear probe fitted on the features (n, hidden) of these examples, to classes or to numbers."""
    if examples.scale is not None:
        return fit_ridge(train, examples.labels)
    return fit_probe(train, examples.labels, num_labels=examples.num_labels, folds=folds, seed=seed)


def fit_ridge(train: NDArray[np.float32], values: NDArray[np.generic]) -> LinearProbe:
    """Ridge regression on standardised features; its one logit is the number predicted.

    The penalty is chosen by leaving out every example once, which costs no more than one fit (Golub, Heath
    and Wahba 1979). Shapes: train (n, hidden), values (n,).
    """
    mean, spread = _standard(train)
    ridge = RidgeCV(alphas=[penalty * len(values) for penalty in PENALTIES])
    ridge.fit((train - mean) / spread, values)
    weight = ridge.coef_[None] / spread
    return LinearProbe(weight, ridge.intercept_ - weight @ mean)


def fit_probe(
    train: NDArray[np.float32], labels: NDArray[np.int64], *, num_labels: int, folds: int, seed: int
) -> LinearProbe:
    """A linear probe fitted on (train, labels).

    Logistic regression on standardised features, its regularisation chosen by cross-validation. Shapes:
    train (n, hidden), labels (n,) of 0 to num_labels - 1. A label that does not occur is never predicted.
    """
    chooser = LogisticRegressionCV(
        Cs=STRENGTHS,
        cv=KFold(min(folds, len(labels)), shuffle=True, random_state=seed % 2**32),
        l1_ratios=(0.0,),  # L2 alone
        scoring="accuracy",
        max_iter=1000,
        tol=ROUGHLY,
        use_legacy_attributes=False,
    )
    mean, spread = _standard(train)
    standardised = (train - mean) / spread
    # Small products: shared out among threads, they take several times as long. Folds go side by side.
    with threadpool_limits(1, user_api="blas"), parallel_config("threading", n_jobs=torch.get_num_threads()):
        chosen = float(chooser.fit(standardised, labels).C_)
        classifier = LogisticRegression(C=chosen, max_iter=1000).fit(standardised, labels)
    coefficients, intercept = classifier.coef_, classifier.intercept_
    if len(classifier.classes_) == 2:  # one row for two classes: its logit, shared out between them
        halves = np.array([[-0.5], [0.5]])
        coefficients, intercept = halves * coefficients, halves[:, 0] * intercept
    weight = np.zeros((num_labels, train.shape[1]))
    bias = np.full(num_labels, ABSENT)
    weight[classifier.classes_] = coefficients / spread
    bias[classifier.classes_] = intercept - (coefficients / spread) @ mean
    return LinearProbe(weight, bias)


def _standard(train: NDArray[np.float32]) -> tuple[Float64, Float64]:
    """(mean, spread) of every feature, (hidden,) each."""
    mean, spread = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    spread[spread <= FLAT * np.median(spread)] = np.inf  # says nothing, so that it gets no weight
    return mean, spread
