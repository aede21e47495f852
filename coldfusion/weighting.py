"""How much each contribution counts, from what its manifest says.

A number in a manifest is a claim. The coordinator caps it, so that no contributor decides by himself how much
he counts; a rule for weights never looks at anything else that a contributor says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from coldfusion.errors import ConfigError
from coldfusion.records import Manifest

Weighting = Callable[[Sequence[Manifest], int], list[float]]


def uniform(manifests: Sequence[Manifest], cap: int) -> list[float]:
    """1 for each: ColD Fusion, Don-Yehiya et al. 2023. The cap has nothing to do."""
    del cap
    return [1.0] * len(manifests)


def examples(manifests: Sequence[Manifest], cap: int) -> list[float]:
    """min(training examples, cap) for each: FedAvg, McMahan et al. 2017, with the coordinator's cap.

    Raises ConfigError for a cap below 1.
    """
    if cap < 1:
        raise ConfigError(f"the cap on examples is {cap}, and no contribution would count: set at least 1")
    return [float(min(manifest.num_examples, cap)) for manifest in manifests]


WEIGHTINGS: dict[str, Weighting] = {"uniform": uniform, "examples": examples}


def weighting_named(name: str) -> Weighting:
    """The weighting called `name` in a policy. Raises ConfigError where there is none."""
    if name not in WEIGHTINGS:
        raise ConfigError(f"unknown weighting {name!r}; known: {', '.join(WEIGHTINGS)}")
    return WEIGHTINGS[name]
