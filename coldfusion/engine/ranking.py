"""Order statistics of tensors that are never held: the exact magnitude at a rank, in one or two passes.

A sample says between which two magnitudes the wanted one must lie; one pass counts what is above them and
collects the few that are between. Where the sample misled, or too much is between, radix selection over the
bit patterns finds it whatever the numbers are. (Selection by sampling: Floyd and Rivest 1975.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from coldfusion.dtypes import Array
from coldfusion.engine.crews import Crew
from coldfusion.engine.radix import select
from coldfusion.engine.sources import Cohort
from coldfusion.engine.spans import SPAN, Span, groups_of, spans_of, tile_size
from coldfusion.errors import TensorMismatch
from coldfusion.exact.scratch import scratch
from coldfusion.fusers.family import Ranking
from coldfusion.native import kernels
from coldfusion.tensorfile import TensorInfo

SMALL = 4 * SPAN
"""Elements up to which a tensor's scores are simply held and partitioned."""
HELD = 32 * SMALL
"""Scores of all contributions together up to which that is so, and that a sample of a model holds."""
PIECES, PIECE = 64, 512  # of a sample: few enough to cost little, spread so that rows that differ all count
SAMPLED = 1 << 21  # elements of a universe that one such sample is for
ERRORS = 5.0  # standard errors that a bracket reaches to either side
COLLECT = 8 << 20  # elements that all brackets of one universe may be expected to hold

Ranked = Callable[[str], Array]
"""Tensor name -> (m, k) magnitudes at the ranks that were asked for."""


@dataclass(frozen=True, slots=True)
class _Universe:
    """The tensors over which ranks are counted: one of them, or the whole body."""

    infos: tuple[TensorInfo, ...]
    count: int


@dataclass(frozen=True, slots=True)
class _Brackets:
    """For every row and rank, bit patterns between which the wanted one lies: (m, k), both inclusive."""

    low: Array
    high: Array


@dataclass(slots=True)
class _Found:
    """What a pass found of one universe."""

    above: Array  # (m, k) how many are above the bracket
    nonzero: Array  # (m,) how many are not 0, where the ranks depend on it
    between: list[list[list[Array]]] = field(default_factory=list)  # [row][rank] -> patterns in the bracket
    held: int = 0  # how many those are, or were


def rank_cohort(
    cohort: Cohort,
    ranking: Ranking | None,
    crew: Crew,
    on_elements: Callable[[int], None] = lambda count: None,
) -> Ranked:
    """What stands at a fuser's ranks, exactly. Raises TensorMismatch where a delta is not finite."""
    if ranking is None:
        return lambda name: np.zeros((0, 0), np.float32)
    infos = tuple(cohort.body.values())
    universes = [_Universe((info,), info.count) for info in infos]
    if ranking.scope == "model":
        universes = [_Universe(infos, sum(info.count for info in infos))]
    found: dict[str, Array] = {}
    most = min(SMALL, HELD // max(len(cohort.sources), 1))
    small = [u for u in universes if u.count <= most]
    large = [u for u in universes if u.count > most]
    for universe, ranked in zip(small, crew.run(partial(_rank_small, cohort, ranking), small), strict=True):
        found |= {info.name: ranked for info in universe.infos}
        on_elements(universe.count * len(cohort.sources))
    for universe, ranked in zip(large, _rank_large(cohort, ranking, large, crew, on_elements), strict=True):
        found |= {info.name: ranked for info in universe.infos}
    return found.__getitem__


def _scores(cohort: Cohort, ranking: Ranking, span: Span) -> Array:
    """(m, t) scores of one span; they sort like the unsigned integers that their bits are."""
    deltas = cohort.deltas(span, cohort.base_span(span))
    # The deltas are the worker's own to overwrite, and fresh memory costs more than the magnitudes.
    scores = np.abs(deltas, out=deltas) if ranking.score is np.abs else ranking.score(deltas)
    if not np.isfinite(scores.max(initial=0.0)):
        worst = np.flatnonzero(~np.isfinite(deltas).all(axis=1))
        who = f"{cohort.keys[worst[0]]}: " if len(worst) else ""
        raise TensorMismatch(f"{who}{span.info.name} holds NaN or Inf")
    return scores


def _patterns(scores: Array) -> Array:
    return scores.view(np.uint32 if scores.dtype == np.float32 else np.uint64)


def _rank_small(cohort: Cohort, ranking: Ranking, universe: _Universe) -> Array:
    parts = [_scores(cohort, ranking, span).copy() for info in universe.infos for span in spans_of(info)]
    if not parts:
        return np.zeros((len(cohort.sources), 0), np.float32)
    return ranking.found_in(np.concatenate(parts, axis=1))


def _rank_large(
    cohort: Cohort,
    ranking: Ranking,
    universes: Sequence[_Universe],
    crew: Crew,
    on_elements: Callable[[int], None],
) -> Iterator[Array]:
    cut = partial(spans_of, size=tile_size(len(cohort.sources)))
    brackets = list(crew.run(partial(_sample, cohort, ranking), universes))
    work = [
        (i, brackets[i], group)
        for i, universe in enumerate(universes)
        if brackets[i] is not None
        for group in groups_of(universe.infos, cut)
    ]
    results = crew.run(partial(_pass, cohort, ranking), work)
    at = 0
    for i, universe in enumerate(universes):
        gathered: _Found | None = None
        while at < len(work) and work[at][0] == i:
            gathered = _capped(_merged(gathered, next(results)))
            on_elements(sum(span.count for span in work[at][2]) * len(cohort.sources))
            at += 1
        ranked = None if gathered is None else _settle(ranking, universe, gathered)
        if ranked is None:
            ranked = _by_radix(cohort, ranking, universe, crew)
        yield ranked


def _sample(cohort: Cohort, ranking: Ranking, universe: _Universe) -> _Brackets | None:
    """Brackets from pieces spread evenly over the universe; None where they would hold too much."""
    # The larger the universe, the narrower a bracket has to be that holds no more.
    number = PIECES * min(max(universe.count // SAMPLED, 1), 16)
    number = max(min(number, 2 * HELD // (PIECE * len(cohort.sources))), PIECES)
    spread = [_scores(cohort, ranking, span).copy() for span in _spread(universe, number)]
    if not spread:  # all tensors are smaller than a piece
        return None
    pieces = np.stack(spread, axis=1)
    low, high, expected = [], [], 0.0
    for row in pieces:  # (pieces, PIECE)
        share = np.count_nonzero(row) / row.size
        edges = [
            _edges(row, rank / universe.count)
            for rank in ranking.among(universe.count, int(share * universe.count))
        ]
        low.append([edge[0] for edge in edges])
        high.append([edge[1] for edge in edges])
        expected += sum(edge[2] for edge in edges) * universe.count
    if expected > COLLECT:
        return None
    return _Brackets(_patterns(np.array(low, pieces.dtype)), _patterns(np.array(high, pieces.dtype)))


def _spread(universe: _Universe, number: int) -> Iterator[Span]:
    """`number` spans of PIECE elements, evenly spread over all tensors as if they were one."""
    ends = np.cumsum([info.count for info in universe.infos])
    for k in range(number):
        at = (2 * k + 1) * universe.count // (2 * number)
        which = int(np.searchsorted(ends, at, side="right"))
        info = universe.infos[which]
        start = min(at - int(ends[which]) + info.count, max(info.count - PIECE, 0))
        if info.count >= PIECE:
            yield Span(info, start, start + PIECE)


def _edges(pieces: Array, share: float) -> tuple[float, float, float]:
    """(low, high, share of all elements between) for the magnitude that `share` of the elements reach.

    The error is estimated from how much the pieces differ: neighbours in a tensor are alike, so the elements
    of a piece are not worth as much as so many independent ones.
    """
    flat, size = pieces.reshape(-1).copy(), pieces.size
    at = max(size - 1 - int(share * size), 0)
    flat.partition(at)
    shares = (pieces >= flat[at]).mean(axis=1)
    spread = max(float(shares.std()), math.sqrt(share * (1 - share) / PIECE))
    margin = ERRORS * spread / math.sqrt(len(pieces)) + 2 / size
    top, bottom = math.ceil((1 - share + margin) * size), int((1 - share - margin) * size) - 1
    flat.partition([max(bottom, 0), min(top, size - 1)])
    high = flat[top] if top < size else np.inf
    low = flat[bottom] if bottom >= 0 else 0.0
    return float(low), float(high), min(1.0, 2 * margin)


def _pass(cohort: Cohort, ranking: Ranking, work: tuple[int, _Brackets, tuple[Span, ...]]) -> _Found:
    """Count what is above the brackets and collect what is in them, over one group of spans."""
    _, brackets, group = work
    m, k = brackets.low.shape
    found = _Found(
        np.zeros((m, k), np.int64), np.zeros(m, np.int64), [[[] for _ in range(k)] for _ in range(m)]
    )
    count_nonzero = _depends_on_nonzero(ranking)
    for span in group:
        patterns = _patterns(_scores(cohort, ranking, span))
        shifted = scratch("above low end", span.count, patterns.dtype.type)
        mask = scratch("in bracket", span.count, np.bool_)
        for i, row in enumerate(patterns):
            if count_nonzero:
                found.nonzero[i] += np.count_nonzero(row)
            for j in range(k):
                low, high = brackets.low[i, j], brackets.high[i, j]
                if quick := kernels.between(row, int(low), int(high), shifted):
                    above, between = quick[0], shifted[: quick[1]].copy()
                else:
                    above = int(np.count_nonzero(np.greater(row, high, out=mask)))
                    np.subtract(row, low, out=shifted)  # below it wraps around to the largest patterns
                    between = row[np.less_equal(shifted, high - low, out=mask)]
                found.above[i, j] += above
                found.between[i][j].append(between)
                found.held += len(between)
    return found


def _depends_on_nonzero(ranking: Ranking) -> bool:
    return ranking.ranks(1_000_000, 1_000_000) != ranking.ranks(1_000_000, 500_000)


def _merged(one: _Found | None, two: _Found) -> _Found:
    if one is None:
        return two
    one.above += two.above
    one.nonzero += two.nonzero
    one.held += two.held
    for mine, theirs in zip(one.between, two.between, strict=True):
        for held, more in zip(mine, theirs, strict=True):
            held.extend(more)
    return one


def _capped(found: _Found) -> _Found:
    """With nothing in the brackets where it is too much: a sample can be misled on purpose."""
    if found.held <= 2 * COLLECT:
        return found
    return replace(found, between=[[[] for _ in held] for held in found.between])


def _settle(ranking: Ranking, universe: _Universe, found: _Found) -> Array | None:
    """The magnitudes at the ranks; None where one of them is not in its bracket."""
    rows = []
    for i, held in enumerate(found.between):
        ranks = ranking.among(universe.count, int(found.nonzero[i]))
        row = []
        for j, rank in enumerate(ranks):
            inside = rank - int(found.above[i, j])
            if not 1 <= inside <= sum(map(len, held[j])):
                return None
            between = np.concatenate(held[j])
            row.append(np.partition(between, between.size - inside)[between.size - inside])
        rows.append(row)
    patterns = np.array(rows, dtype=between.dtype)
    return patterns.view(np.float32 if patterns.dtype == np.uint32 else np.float64)


def _by_radix(cohort: Cohort, ranking: Ranking, universe: _Universe, crew: Crew) -> Array:
    """The same by histograms of the bit patterns, two bytes at a time."""
    groups = list(groups_of(universe.infos))
    return select(groups, lambda span: _patterns(_scores(cohort, ranking, span)), ranking, crew)
