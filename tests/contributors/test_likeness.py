from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contributors.likeness import KEPT, LEAST, distinct, likeness, whole_hashes, words

SALT = bytes(range(16))
LONG = (
    "The committee met on Tuesday to discuss the new bridge, which will carry trains and cyclists "
    "over the river from the old harbour to the market before the end of next year."
)
HELD_OUT = [
    (LONG,),
    ("Where is the market?",),
    ("A man plays the violin in a park at night.", "Somebody makes music."),
]


def is_like(*text: str) -> bool:
    """Whether it is taken for one of the texts above."""
    held_out = likeness(HELD_OUT, SALT).thinned(1)
    return bool(likeness([text], SALT).like(*held_out)[0])


@pytest.mark.parametrize(
    "text",
    [
        (LONG,),
        (LONG.upper().replace(",", " --"),),
        (LONG.replace("Tuesday", "Friday"),),
        ("Breaking news. " + LONG,),
        (LONG.removesuffix(" before the end of next year."),),
        ("where is the MARKET",),
        ("Somebody makes music!", "A man plays the violin in a park at night"),  # the other way round
        ("A man plays the violin in a park at night.", "Nobody does."),
    ],
)
def test_a_held_out_text_is_found_with_small_changes(text: tuple[str, ...]) -> None:
    assert is_like(*text)


@pytest.mark.parametrize(
    "text",
    [
        ("The committee met on Monday and could not agree on who should pay for the bridge over the river.",),
        ("Where is the harbour?",),  # four words, one of them another
        ("Somebody makes music.",),  # one text of a pair, too short to have pieces
        ("?!",),
        ("",),
    ],
)
def test_another_text_on_the_same_topic_is_innocent(text: tuple[str, ...]) -> None:
    assert not is_like(*text)


def test_a_text_without_a_word_is_like_nothing() -> None:
    assert not likeness([("?!",)], SALT).like(*likeness([("...",)], SALT).thinned(1)).any()
    assert whole_hashes([("?!",), ("", ":)")], b"").tolist() == [0, 0]
    assert not len(distinct(whole_hashes([("?!",)], b"")))


def test_case_width_punctuation_and_spacing_do_not_count() -> None:
    assert words("  Straße, ＡＢＣ-２ don't_stop ") == ["strasse", "abc", "2", "don", "t", "stop"]
    assert words("東京は晴れ today") == ["東", "京", "は", "晴", "れ", "today"]


def test_few_pieces_of_a_long_text_are_kept_and_none_of_a_short_one() -> None:
    found = likeness(
        [(LONG,), ("one two three four five six",), ("one two three four five six seven",)], SALT
    )
    assert np.bincount(found.owners).tolist() == [KEPT, 0, LEAST]


def test_another_salt_gives_other_hashes() -> None:
    one, other = (likeness(HELD_OUT, salt).thinned(1) for salt in (SALT, bytes(16)))
    assert not set(one[0]) & set(other[0]) and not set(one[1]) & set(other[1])


TEXTS = st.lists(st.lists(st.text(max_size=60), min_size=1, max_size=2).map(tuple), min_size=1, max_size=6)


@settings(max_examples=40)
@given(texts=TEXTS, salt=st.binary(min_size=16, max_size=16), order=st.randoms(use_true_random=False))
def test_what_is_held_out_is_always_found_in_whatever_order(
    texts: list[tuple[str, ...]], salt: bytes, order: Random
) -> None:
    shuffled = list(texts)
    order.shuffle(shuffled)
    found, again = likeness(texts, salt), likeness(shuffled, salt)
    for one, other in zip(found.thinned(1), again.thinned(1), strict=True):
        assert np.array_equal(one, other) and np.all(one[1:] > one[:-1])
    has_words = [any(words(part) for part in text) for text in texts]
    assert found.like(*again.thinned(1)).tolist() == has_words
