"""How long work tells whoever shows progress where it is."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[int, int], None]
"""Called now and then: (examples done, examples in all)."""


def unheard(done: int, total: int) -> None:
    """A report that nobody reads."""
