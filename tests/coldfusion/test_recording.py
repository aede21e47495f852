import numpy as np

from coldfusion.recording import similarity_of
from coldfusion.records import MOST_COMPARED, Similarity
from coldfusion.stats import RoundStats


def stats(gram: np.ndarray, *keys: str) -> RoundStats:
    n = len(keys)
    return RoundStats(keys, np.ones(n, bool), np.ones(n), gram)


def test_the_similarity_of_two_deltas_is_the_cosine_between_them() -> None:
    # (3, 4), (4, 3) and (0, 0): 24 / 25, and nothing to compare with.
    gram = np.array([[25.0, 24.0, 0.0], [24.0, 25.0, 0.0], [0.0, 0.0, 0.0]])
    expected = Similarity(contributors=("a", "b", "c"), rows=((), (0.96,), (0.0, 0.0)))
    assert similarity_of(stats(gram, "a", "b", "c")) == expected


def test_of_a_large_round_the_first_contributors_are_compared() -> None:
    names = [f"c{i:03}" for i in range(MOST_COMPARED + 1)]
    found = similarity_of(stats(np.eye(len(names)), *names))
    assert found.contributors == tuple(names[:-1]) and len(found.rows) == MOST_COMPARED
