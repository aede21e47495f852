"""Where things are in a federation's repo: the names that the protocol gives them."""

from __future__ import annotations


def record_path(round_index: int) -> str:
    return f"rounds/{round_index:04d}/record.json"


def outer_path(round_index: int) -> str:
    """The outer optimiser's state after a round, where it has one.

    `main` holds the newest alone, or whoever takes a snapshot of the repo would load every round's; the
    others stay at the tags of their rounds.
    """
    return f"rounds/{round_index:04d}/outer.safetensors"


def tag_name(round_index: int) -> str:
    """The tag on the commit that published a round's base."""
    return f"round-{round_index:04d}"
