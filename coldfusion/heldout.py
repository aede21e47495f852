"""What a federation publishes of its held-out tasks, so that nobody contributes one: hashes of their texts.

A contributor compares its data with them on its own machine, before it trains. What this is worth, to whom:

- It keeps the honest from a mistake: the same data set from elsewhere, another split of it, a cleaned copy.
  It stops nobody who changes this program, and it does not see a paraphrase or a translation.
- Nothing about the outcome leaves the contributor's machine: neither which texts were found nor how many.
- The held-out texts are given away as far as they can be guessed. The salt is public (it only makes tables
  of hashes that were computed for another federation useless): who guesses a text can check the guess. Of a
  text of 7 to 11 words every piece is here, so that such a guess can grow word by word; of a longer one
  there are too few to go from one to the next. For texts that must stay secret: `publish_hashes=false`.
- A contributor reads a stranger's file: sorted numbers and a short header, both checked, of a limited size.
  The worst that it can say is that everything is held out. Then this federation gets nothing.
- Chance accuses nobody: one of 900,000 hashes (100,000 texts) is among 2^20 others by accident in one of 20
  million checks. Texts that share half of their pieces are another matter: see contributors/likeness.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from coldfusion.errors import ManifestError, TensorMismatch, writing
from coldfusion.federation import State
from coldfusion.hub import Hub
from coldfusion.jsonrecords import from_json, to_json
from coldfusion.places import sha256_of
from coldfusion.records import Revision
from coldfusion.tensorfile import TensorFile

HELD_OUT = "heldout/hashes.safetensors"
"""Where it is on `main`: beside the policy, but not among the files of a checkpoint."""

MAX_BYTES = 32 << 20  # of the file; ours have at most 8 MiB and their header
MAX_HEADER = 1 << 20  # bytes
VERSION = "held-out-1"
"""Names how texts are hashed, too: raised when that changes, or nothing would be found any more."""

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What can be read without a hash. Raises ManifestError for what cannot be."""

    tasks: tuple[str, ...]  # names of the held-out tasks
    sources: tuple[str, ...]  # hashes of the names of the data sets on the Hub that they come from, in hex
    num_texts: int  # of all their splits
    thin: int  # one in so many of the texts is here, chosen by hash
    salt: str  # 32 hex digits

    def __post_init__(self) -> None:
        if self.thin < 1 or not re.fullmatch(r"[0-9a-f]{32}", self.salt):
            raise ManifestError(f"thin {self.thin} is below 1, or the salt is not 32 hex digits")


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Hashes of held-out texts, each array sorted and without repetition."""

    terms: Terms
    wholes: Hashes  # of whole texts
    pieces: Hashes  # of runs of words

    @property
    def salt(self) -> bytes:
        return bytes.fromhex(self.terms.salt)


def write_held_out(held_out: HeldOut, path: Path) -> Path:
    """Write the file. The same hashes and terms give the same bytes."""
    arrays = {"wholes": held_out.wholes, "pieces": held_out.pieces}
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(save(arrays, {VERSION: to_json(held_out.terms).decode()}))
    return path


def read_held_out(path: Path) -> HeldOut:
    """What such a file holds. Raises ManifestError where it is none."""
    try:
        with TensorFile(path, max_header=MAX_HEADER) as file:
            if VERSION not in file.metadata:
                raise ManifestError(f"{HELD_OUT}: not of the kind {VERSION}; upgrade coldfusion")
            terms = from_json(Terms, file.metadata[VERSION].encode(), source=HELD_OUT)
            wholes, pieces = (_hashes(file, name) for name in ("wholes", "pieces"))
    except TensorMismatch as exc:
        raise ManifestError(f"{HELD_OUT}: {str(exc).removeprefix(f'{path}: ')}") from exc
    return HeldOut(terms, wholes, pieces)


def fetch_held_out(hub: Hub, *, at: Revision) -> HeldOut | None:
    """What a federation publishes of its held-out tasks; None where it does not. Raises ManifestError."""
    there = hub.paths(HELD_OUT, at=at)
    if not there:
        return None
    if there[0].size > MAX_BYTES:
        raise ManifestError(f"{HELD_OUT}: {there[0].size:,} bytes, at most {MAX_BYTES:,} are read")
    return read_held_out(hub.fetch(HELD_OUT, at=at))


def publish_held_out(hub: Hub, state: State, made: Path) -> State:
    """Put the file onto `main` unless it is there as it is: the state after that.

    A commit of its own: the base and its tag stay where they are, so the newest round must have its tag.
    """
    there = hub.paths(HELD_OUT, at=state.head)
    if there and sha256_of(hub.fetch(HELD_OUT, at=state.head)) == sha256_of(made):
        return state
    message = "hashes of the held-out texts, for contributors to check their data against"
    return replace(state, head=hub.commit({HELD_OUT: made}, message=message, parent=state.head))


def _hashes(file: TensorFile, name: str) -> Hashes:
    info = file.tensors.get(name)
    if info is None or info.dtype != "U64" or len(info.shape) != 1:
        raise ManifestError(f"{HELD_OUT}: {name} is not a row of 64-bit numbers")
    found: Hashes = file.read(name)
    if not np.all(found[1:] > found[:-1]):
        raise ManifestError(f"{HELD_OUT}: {name} is not sorted")
    return found
