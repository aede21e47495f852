"""What is recorded from other tools, and what of ours should come to the same values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Options = Mapping[str, float | str | bool]

THREE = ("a", "b", "c")
WEIGHTS = {"a": 0.5, "b": 0.3, "c": 0.4}
EIGHT = ("a", "b", "c", "d", "e", "f", "g", "h")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One merge by mergekit of fine-tunes of a base, and the fuser and options of ours that it stands for."""

    name: str
    fuser: str
    ours: Options = field(default_factory=dict)
    method: str
    theirs: Options = field(default_factory=dict)
    models: tuple[str, ...] = THREE
    weighted: bool = True  # by WEIGHTS, where not all weights are equal
    base: bool = True  # the method takes a base
    of_deltas: bool = False  # the method averages models; what it is given as models are the deltas
    kind: str = "ordinary"  # of fine-tune, see models.py

    @property
    def draws(self) -> bool:
        """Whether the method draws random masks, which are recorded."""
        return self.method.startswith(("dare", "della"))


def _same(name: str, fuser: str = "", *, ours: Options, theirs: Options, method: str = "") -> Case:
    return Case(name=name, fuser=fuser or name, ours=ours, method=method or fuser or name, theirs=theirs)


SAME = (
    _same("linear", "mean", method="linear", ours={}, theirs={}),
    _same("task_arithmetic", ours={"scale": 0.7}, theirs={"lambda": 0.7}),
    _same(
        "ties",
        ours={"density": 0.4, "scale": 0.7, "normalize": True},
        theirs={"density": 0.4, "lambda": 0.7},
    ),
    _same(
        "ties_sum",
        "ties",
        ours={"density": 0.4, "normalize": False, "rescale": "l1"},
        theirs={"density": 0.4, "normalize": False, "rescale": True},
    ),
    _same(
        "dare_linear",
        ours={"density": 0.5, "rescale": "l1", "normalize": False},
        theirs={"density": 0.5},
    ),
    _same(
        "dare_ties",
        ours={"density": 0.5, "rescale": "l1", "normalize": True},
        theirs={"density": 0.5, "normalize": True},
    ),
    _same(
        "della",
        ours={"density": 0.5, "epsilon": 0.15, "rescale": "l1", "normalize": True},
        theirs={"density": 0.5, "epsilon": 0.15},
    ),
    _same(
        "della_linear",
        ours={"density": 0.6, "epsilon": 0.1, "rescale": "l1", "normalize": False},
        theirs={"density": 0.6, "epsilon": 0.1},
    ),
    _same(
        "breadcrumbs",
        ours={"density": 0.5, "gamma": 0.1, "normalize": False},
        theirs={"density": 0.5, "gamma": 0.1},
    ),
    _same(
        "breadcrumbs_ties",
        ours={"density": 0.5, "gamma": 0.1, "normalize": False},
        theirs={"density": 0.5, "gamma": 0.1},
    ),
    Case(
        name="sce",
        fuser="sce",
        ours={"select_topk": 0.5},
        method="sce",
        theirs={"select_topk": 0.5},
        weighted=False,
    ),
    Case(name="model_stock", fuser="model_stock", method="model_stock", weighted=False),
    Case(name="karcher", fuser="karcher", method="karcher", weighted=False, base=False, of_deltas=True),
    Case(
        name="slerp",
        fuser="slerp",
        ours={"t": 0.3},
        method="slerp",
        theirs={"t": 0.3},
        models=("a", "b"),
        weighted=False,
        of_deltas=True,
    ),
)
"""Where the formulas are the same, on every architecture."""

OTHER = (
    Case(
        name="model_stock_opposed", fuser="model_stock", method="model_stock", weighted=False, kind="opposed"
    ),
    Case(name="model_stock_small", fuser="model_stock", method="model_stock", weighted=False, kind="small"),
    Case(name="sce_small", fuser="sce", method="sce", weighted=False, kind="small"),
    Case(
        name="ties_coarse",
        fuser="ties",
        ours={"density": 0.5},
        method="ties",
        theirs={"density": 0.5},
        models=("a",),
        weighted=False,
        kind="coarse",
    ),
)
"""Where ours differ on purpose, on one architecture."""

FLOWER = ("median", "trimmed_mean", "krum", "multi_krum")
