"""The similarity of a round's deltas as a picture: the cosines between every two of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coldfusion.records import RoundRecord
from experiments.page.shades import Cell, cell

MOST_NUMBERED = 16
"""Deltas up to which the numbers stand in the cells; beyond, colours alone."""
LEAST_SCALE = 0.2
"""The cosine at which a colour is full, at least: noise about zero stays pale."""
MOST_CELLS = 30_000
"""Of all pictures of a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The cosines of one round."""

    round_index: int
    names: tuple[str, ...]
    refused: frozenset[str]
    rows: tuple[tuple[Cell, ...], ...]  # as many as names, of as many cells
    most: float  # the cosine at which a colour is full
    numbered: bool
    left_out: int  # contributions that were not compared, or whose delta was not read
    mean: float
    extremes: str  # which are most alike and which least; none of two


def pictures(records: Sequence[RoundRecord]) -> tuple[list[Picture], int]:
    """(pictures, newest first; rounds that have cosines too and are left out for the size of the page)."""
    found = [record for record in reversed(records) if len(record.similarity.contributors) > 1]
    made, cells = list[Picture](), 0
    for record in found:
        cells += len(record.similarity.contributors) ** 2
        if made and cells > MOST_CELLS:
            break
        made.append(_picture(record))
    return made, len(found) - len(made)


def _picture(record: RoundRecord) -> Picture:
    names, below = record.similarity.contributors, record.similarity.rows
    numbered = len(names) <= MOST_NUMBERED
    most = max(LEAST_SCALE, *(abs(value) for row in below for value in row))
    full = [
        [1.0 if i == j else below[max(i, j)][min(i, j)] for j in range(len(names))] for i in range(len(names))
    ]
    return Picture(
        round_index=record.round_index,
        names=names,
        refused=frozenset(e.contributor for e in record.entries if not e.accepted) & set(names),
        rows=tuple(tuple(cell(v, _text(v) if numbered else "", most) for v in row) for row in full),
        most=most,
        numbered=numbered,
        left_out=max(0, len(record.entries) - len(names)),
        mean=sum(map(sum, below)) / sum(map(len, below)),
        extremes=_extremes(names, below),
    )


def _extremes(names: Sequence[str], below: Sequence[Sequence[float]]) -> str:
    """`Most alike are a and b (0.52), least alike c and d (-0.10).`"""
    pairs = [(value, names[i], names[j]) for i, row in enumerate(below) for j, value in enumerate(row)]
    if len(pairs) == 1:
        return ""
    return f"Most alike are {_pair(max(pairs))}, least alike {_pair(min(pairs))}."


def _pair(pair: tuple[float, str, str]) -> str:
    value, one, other = pair
    return f"{other} and {one} ({_text(value)})"


def _text(cosine: float) -> str:
    return f"{cosine:.2f}".replace("-0.00", "0.00")
