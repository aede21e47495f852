"""The colour of a number on a scale that goes both ways: blue above zero, red below."""

from __future__ import annotations

from dataclasses import dataclass

STEPS = 10


@dataclass(frozen=True, slots=True)
class Cell:
    """A number in a coloured picture."""

    text: str
    shade: str  # class of the style sheet: "u1" to "u10" above zero, "d1" to "d10" below, "" about zero


EMPTY = Cell("", "")


def cell(value: float | None, text: str, most: float) -> Cell:
    """The cell of a value; its colour is full at `most` and beyond."""
    if value is None:
        return EMPTY
    step = min(STEPS, round(STEPS * abs(value) / most)) if most > 0 else 0
    return Cell(text, f"{'u' if value > 0 else 'd'}{step}" if step else "")
