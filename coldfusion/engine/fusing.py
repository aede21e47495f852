"""The streaming engine: fuse a cohort into a new checkpoint, span by span.

Passes before the fusing find out what the fuser wants to know (inner products, order statistics); then each
span is read from all inputs, fused, and written at its offset in the base's files. A span's result depends on
nothing but that span and its tensor's plan, and every sum is exact, so neither arrival, nor threads, nor
workers show in the bytes. Memory: for weighted sums a few spans per thread; for other rules n copies of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from coldfusion.checkpointwriter import CheckpointWriter
from coldfusion.dtypes import Array, Float64
from coldfusion.engine.crews import Crew, Threads
from coldfusion.engine.measuring import measure_cohort
from coldfusion.engine.ranking import rank_cohort
from coldfusion.engine.sources import BaseSpan, Cohort
from coldfusion.engine.spans import LARGE, Span, groups_of, spans_of, tile_size
from coldfusion.engine.summing import Sum, weighted_sum
from coldfusion.errors import ConfigError, TensorMismatch
from coldfusion.fusers.family import Facts, Fuser, Tile
from coldfusion.outer import OuterStep
from coldfusion.outerstate import OuterState
from coldfusion.stats import RoundStats, no_deltas
from coldfusion.tensorfile import TensorInfo

SUM_SPAN = 2 * LARGE
"""Elements of a span of a weighted sum, of which a worker holds one input at a time."""
MOST_WEIGHT = 1e30
"""The largest magnitude of a weight: sums and products of them stay far within fp64's range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a cohort is fused: everything that decides the bytes but for the numbers themselves."""

    fuser: Fuser
    options: Any
    weights: tuple[float, ...]  # (n,), in the order of the cohort's keys
    seed: int = 0  # of random masks
    outer_lr: float = 1.0
    outer: OuterStep | None = None  # instead of outer_lr: an optimiser that keeps a state
    dtype: str | None = None  # safetensors dtype of the floats that are written; None: the base's


@dataclass(frozen=True, slots=True)
class _Piece:
    """A group of spans of one shard, with the plan of each one's tensor."""

    shard: str
    spans: tuple[Span, ...]
    plans: tuple[Any, ...]


@dataclass(slots=True)
class _Job:
    """What a worker needs to fuse a piece. Sent once to each worker of a crew."""

    cohort: Cohort
    rule: Rule
    write: Callable[[str, str, int, Array], None]  # (shard, tensor, start, values in storage dtype)
    outer: OuterState | None = None


def fuse_cohort(
    cohort: Cohort,
    rule: Rule,
    into: Path,
    *,
    stats: RoundStats | None = None,
    crew: Crew | None = None,
    on_elements: Callable[[int], None] = lambda count: None,
) -> None:
    """Write base + outer_lr * fused delta into the directory `into`, in the base's files and names.

    stats: what `measure_cohort` found of this cohort or a larger one, if it is known, with everything that
    the rule needs: by_tensor for "gram". Tensors that are not floating-point stay the base's. A file appears
    under its name only when it is whole. Raises TensorMismatch where an input holds NaN, an infinity or a
    number that is too large, and where a result is more than its dtype holds; StorageError when the disk
    refuses.
    """
    if not cohort.sources:
        raise ConfigError("there is nothing to fuse: name at least one input")
    if odd := [weight for weight in rule.weights if not abs(weight) <= MOST_WEIGHT]:
        raise ConfigError(f"weight {odd[0]:g} is not a number up to {MOST_WEIGHT:.0e}; weights are relative")
    crew = crew or Threads()
    if "extras" in rule.fuser.needs:
        cohort.check_fishers()
    plans = _plans(cohort, rule, stats, crew, on_elements)
    with CheckpointWriter(cohort.base, into, rule.dtype) as out, ExitStack() as stack:
        outer = stack.enter_context(OuterState(rule.outer, cohort.body)) if rule.outer else None
        job = _Job(cohort, rule, out.write, outer)
        for count in crew.run(partial(_fuse_piece, job), _pieces(cohort, rule.fuser, plans)):
            on_elements(count)


def _plans(
    cohort: Cohort,
    rule: Rule,
    stats: RoundStats | None,
    crew: Crew,
    on_elements: Callable[[int], None],
) -> dict[str, Any]:
    """The fuser's plan for every tensor of the body."""
    fuser, weights = rule.fuser, np.array(rule.weights, dtype=np.float64)
    if stats is None and fuser.needs & {"gram", "model_gram"}:
        stats = measure_cohort(cohort, crew, by_tensor="gram" in fuser.needs, on_elements=on_elements)
    ranked = rank_cohort(cohort, fuser.ranking(rule.options), crew, on_elements)
    nothing = no_deltas(cohort.keys)  # where nothing is to be known
    found = nothing if stats is None else stats.of(cohort.keys)
    found.require_finite()
    plans = {}
    for name, info in cohort.body.items():
        one = found.tensors[name] if "gram" in fuser.needs else nothing
        facts = Facts(name, info.shape, one.gram, found.gram, ranked(name))
        plans[name] = fuser.plan(facts, weights, rule.options)
    if fuser.tally is None or not fuser.tallies(rule.options):
        return plans
    return _refined(cohort, rule, plans, crew, on_elements)


def _refined(
    cohort: Cohort, rule: Rule, plans: dict[str, Any], crew: Crew, on_elements: Callable[[int], None]
) -> dict[str, Any]:
    """The plans once the fuser has tallied every span of what it planned."""
    job = _Job(cohort, rule, lambda *_: None)
    totals: dict[str, Float64] = {}
    pieces = list(_pieces(cohort, rule.fuser, plans))
    for piece, found in zip(pieces, crew.run(partial(_tally_piece, job), pieces), strict=True):
        for span, tally in zip(piece.spans, found, strict=True):
            totals[span.info.name] = totals.get(span.info.name, 0.0) + tally
            on_elements(span.count * len(cohort.sources))
    refine = rule.fuser.refine
    return {name: refine(plan, totals[name]) if name in totals else plan for name, plan in plans.items()}


def _tally_piece(job: _Job, piece: _Piece) -> list[Float64]:
    tally, found = job.rule.fuser.tally, list[Float64]()
    assert tally is not None
    for span, plan in zip(piece.spans, piece.plans, strict=True):
        found.append(tally(_tile(job, span, job.cohort.base_span(span)), plan))
    return found


def _pieces(cohort: Cohort, fuser: Fuser, plans: dict[str, Any]) -> Iterator[_Piece]:
    for name, shard in cohort.base.shards.items():
        for group in groups_of(shard.tensors.values(), partial(_spans, fuser, len(cohort.sources))):
            yield _Piece(name, group, tuple(plans.get(span.info.name) for span in group))


def _spans(fuser: Fuser, n: int, info: TensorInfo) -> Iterable[Span]:
    if fuser.apply is None or not info.is_float:
        return spans_of(info, "any", SUM_SPAN)
    return spans_of(info, fuser.tiles, tile_size(n))


def _fuse_piece(job: _Job, piece: _Piece) -> int:
    for span, plan in zip(piece.spans, piece.plans, strict=True):
        if span.info.is_float:
            fused = _fused(job, span, job.cohort.base_span(span), plan)
        else:
            fused = job.cohort.base.read(span.info.name, span.start, span.stop)
        job.write(piece.shard, span.info.name, span.start, fused)
    return sum(span.count for span in piece.spans) * len(job.cohort.sources)


def _fused(job: _Job, span: Span, base: BaseSpan, plan: Any) -> Array:
    """base + step of one span, in storage dtype."""
    try:
        found, outer_lr = _sum(job, span, base, plan), job.rule.outer_lr
        if job.outer is not None:
            step = job.outer.advance(span.info.name, span.start, found.delta(base))
            found, outer_lr = Sum(step), 1.0
        return found.stored(base, outer_lr, job.rule.dtype or span.info.dtype)
    except TensorMismatch as exc:
        raise _blamed(job.cohort, span, exc) from exc


def _sum(job: _Job, span: Span, base: BaseSpan, plan: Any) -> Sum:
    """The fused delta of one span."""
    if job.rule.fuser.apply is None:
        return weighted_sum(job.cohort, span, base, plan)
    return Sum(job.rule.fuser.apply(_tile(job, span, base), plan))


def _tile(job: _Job, span: Span, base: BaseSpan) -> Tile:
    deltas = job.cohort.deltas(span, base)
    if not np.isfinite(deltas.max(initial=0.0)) or not np.isfinite(deltas.min(initial=0.0)):
        raise TensorMismatch("holds NaN or Inf")
    extras = (job.cohort.fishers(span),) if "extras" in job.rule.fuser.needs else ()
    return Tile(span.info.name, span.info.shape, span.start, deltas, job.cohort.keys, job.rule.seed, extras)


def _blamed(cohort: Cohort, span: Span, exc: TensorMismatch) -> TensorMismatch:
    """The same error, saying in which input and tensor."""
    deltas = cohort.deltas(span, cohort.base_span(span))
    worst = np.where(np.isfinite(deltas).all(axis=1), np.abs(deltas).max(axis=1, initial=0), np.inf)
    return TensorMismatch(f"{cohort.keys[int(worst.argmax())]}: {span.info.name} {exc}")
