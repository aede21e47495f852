"""When two texts are the same or nearly so, told from hashes alone.

A text is known by the hash of all its words, and by those of its pieces: runs of 4 words, of which the 8
with the smallest hashes are kept, so that two machines keep the same ones of the same text. Words are letters
and digits after NFKC and case folding, so case, punctuation and spacing do not count; where a script puts no
spaces between words, every character is one. A text is nearly a held-out one where at least 4 of its pieces,
and at least half of them, are pieces of held-out texts, be it of several. A text with fewer pieces than 4
(most have those from 7 words on) is compared as a whole only.

The sketch by smallest hashes is Broder's (1997, "On the resemblance and containment of documents"). Runs of 8
or 13 words, which are usual for web pages, would say nothing of sentences: half of our texts have 12 words or
fewer. What these numbers find and whom they accuse, and how they were chosen, is in experiments/LOG.md.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from heapq import nsmallest

import numpy as np
from numpy.typing import NDArray

from coldfusion.heldout import Hashes

PIECE = 4  # words
KEPT = 8  # pieces of a text
LEAST = 4  # pieces that make a text nearly another
SHARE = 0.5  # of its pieces

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana, Chinese characters
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_NO_WORDS = 0  # in the place of the hash of a text without a word

Text = Sequence[str]
"""An example's text, or its two texts."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """What n texts are known by."""

    wholes: Hashes  # (n,); 0 for a text without a word, which is like nothing
    pieces: Hashes  # (m,), of all texts one after the other
    owners: NDArray[np.int64]  # (m,): the text that each piece is of

    def like(self, wholes: Hashes, pieces: Hashes) -> NDArray[np.bool_]:
        """(n,): which texts are among others, or nearly so. Of the others: what `thinned` made of them."""
        count = len(self.wholes)
        has = np.bincount(self.owners, minlength=count)
        hits = np.bincount(self.owners[among(self.pieces, pieces)], minlength=count)
        nearly = (hits >= LEAST) & (hits >= SHARE * has)
        return among(self.wholes, wholes) | nearly

    def thinned(self, thin: int) -> tuple[Hashes, Hashes]:
        """(wholes, pieces), sorted, of one in `thin` of the texts, chosen by hash whatever their order."""
        chosen = self.wholes % np.uint64(thin) == 0
        return distinct(self.wholes[chosen]), np.unique(self.pieces[chosen[self.owners]])


def likeness(texts: Iterable[Text], salt: bytes) -> Likeness:
    """What texts are known by in the federation with this salt (16 bytes)."""
    wholes, pieces, owners = [], [], []
    for index, text in enumerate(texts):
        columns = [words(part) for part in text]
        wholes.append(_whole(columns, salt))
        kept = _pieces(columns, salt)
        pieces += kept
        owners += [index] * len(kept)
    return Likeness(_hashes(wholes), _hashes(pieces), np.array(owners, dtype=np.int64))


def whole_hashes(texts: Iterable[Text], salt: bytes) -> Hashes:
    """(n,): as in `Likeness.wholes`, which is all that it takes to find the same texts again."""
    return _hashes([_whole([words(part) for part in text], salt) for text in texts])


def name_hash(name: str, salt: bytes) -> str:
    """Of the name of a data set, in whatever case, as 16 hex digits."""
    return f"{_hash(name.casefold(), salt):016x}"


def words(text: str) -> list[str]:
    """What counts of a text.

    >>> words("Don't PANIC -- \\uff12 times!")
    ['don', 't', 'panic', '2', 'times']
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def distinct(wholes: Hashes) -> Hashes:
    """The texts that there are, sorted; not those without a word."""
    return np.unique(wholes[wholes != _NO_WORDS])


def among(hashes: Hashes, others: Hashes) -> NDArray[np.bool_]:
    """For each of the hashes whether it is one of the others, which are sorted."""
    if not len(others):
        return np.zeros(len(hashes), dtype=np.bool_)
    places = np.minimum(np.searchsorted(others, hashes), len(others) - 1)
    found: NDArray[np.bool_] = others[places] == hashes
    return found


def _whole(columns: Sequence[Sequence[str]], salt: bytes) -> int:
    """Of both texts of a pair, whichever comes first."""
    joined = sorted(" ".join(column) for column in columns)
    return _hash("\n".join(joined), salt) if any(joined) else _NO_WORDS


def _pieces(columns: Sequence[Sequence[str]], salt: bytes) -> list[int]:
    found = {
        _hash(" ".join(column[start : start + PIECE]), salt)
        for column in columns
        for start in range(len(column) - PIECE + 1)
    }
    return nsmallest(KEPT, found) if len(found) >= LEAST else []


def _hash(text: str, salt: bytes) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8, salt=salt).digest(), "little")


def _hashes(numbers: Sequence[int]) -> Hashes:
    return np.array(numbers, dtype=np.uint64)
