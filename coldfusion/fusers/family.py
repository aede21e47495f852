"""What a fuser is: options, a plan per tensor made from facts, and arithmetic on one tile of stacked deltas.

A fuser never sees a file. The engine measures first (facts), asks the fuser for a plan per tensor, and
then applies the plan tile by tile; the same two pure functions fuse small arrays in a test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from coldfusion.dtypes import Float64

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the passes before the fusing found out about the n deltas of one tensor, rows by contribution.

    Only what a fuser `needs` is there; the rest is empty.
    """

    name: str
    shape: tuple[int, ...]
    gram: Float64  # (n, n) inner products of the deltas of this tensor
    model_gram: Float64  # (n, n) inner products over the whole body
    ranked: Float32  # (m, k) the magnitudes at the ranks that the fuser asked for, see `Ranking`


@dataclass(frozen=True, slots=True)
class Coefficients:
    """A weighted sum of deltas: factor * sum_i numerators[i] d_i / divisor.

    Kept apart so that n equal numerators make an exact sum with one rounding, that of the division.
    """

    numerators: Float64  # (n,)
    divisor: float = 1.0
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Ranking:
    """Order statistics of one tensor, or of the whole body: which magnitudes stand at which ranks."""

    score: Callable[[Float32], Float32]  # deltas (n, t) -> (m, t), at least 0: what is ranked, elementwise
    ranks: Callable[[int, int], tuple[int, ...]]  # (elements, of which not 0) -> ranks, 1 is the largest
    scope: Literal["tensor", "model"] = "tensor"

    def among(self, count: int, nonzero: int) -> list[int]:
        """The ranks in so many elements, from 1 to their number."""
        return [min(max(rank, 1), count) for rank in self.ranks(count, nonzero)]

    def found_in(self, scores: Float32) -> Float32:
        """What stands at the ranks of scores (m, t) that are held whole, (m, k). Changes their order."""
        m, count = scores.shape
        if not count:
            return np.zeros((m, 0), scores.dtype)
        rows = []
        for row in scores:
            at = [count - rank for rank in self.among(count, int(np.count_nonzero(row)))]
            row.partition(sorted(set(at)))
            rows.append(row[at])
        return np.stack(rows)


@dataclass(frozen=True, slots=True)
class Tile:
    """One range of one tensor, of every contribution."""

    name: str  # of the tensor
    shape: tuple[int, ...]  # of the whole tensor
    start: int  # of the flattened tensor
    deltas: Float32  # (n, t); fp64 where the base is fp64
    keys: tuple[str, ...]  # of the contributions, (n,): what random masks are drawn by
    seed: int  # of the round
    extras: tuple[Float32, ...] = ()  # what contributions ship beside their deltas: a Fisher diagonal (n, t)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fuser:
    """One rule. `plan` and `apply` are pure functions; neither changes its inputs.

    plan(facts, weights (n,), options) -> whatever `apply` wants to know about the tensor. For a fuser without
    `apply` it is the Coefficients of a weighted sum, which the engine streams.
    apply(tile, plan) -> the fused delta of the tile (t,), fp64.
    """

    name: str
    options: type[Any]  # frozen dataclass; constructing it validates
    plan: Callable[[Facts, Float64, Any], Any]
    apply: Callable[[Tile, Any], Float64] | None = None
    needs: frozenset[str] = frozenset()  # of "gram", "model_gram", "extras"
    ranking: Callable[[Any], Ranking | None] = lambda options: None
    tally: Callable[[Tile, Any], Float64] | None = None  # per tile, any shape; summed over the tensor for
    refine: Callable[[Any, Float64], Any] = lambda plan, totals: plan
    tallies: Callable[[Any], bool] = lambda options: True  # whether these options ask for `tally`
    tiles: Literal["any", "rows", "tensor"] = "any"  # what a tile holds whole; a row: an index of dimension 0
    summary: str = ""  # one line for --help and the policy

    def __reduce__(self) -> tuple[Any, ...]:
        """By its name, where it has one: a worker on another machine takes the rule from its own code."""
        from coldfusion.fusers.registry import FUSERS, fuser_named  # which imports this module

        if FUSERS.get(self.name) is self:
            return fuser_named, (self.name,)
        return partial(Fuser, **{knob.name: getattr(self, knob.name) for knob in fields(self)}), ()
