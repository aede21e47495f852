import numpy as np
import pytest

from coldfusion.engine.spans import LARGE
from coldfusion.exact.scratch import KEPT, scratch, set_aside, zeroed


def test_the_same_use_gets_the_same_memory_in_any_shape() -> None:
    one, two = scratch("a", 4, np.float32), scratch("a", (2, 1), np.float32)
    assert np.shares_memory(one, two) and two.shape == (2, 1)


@pytest.mark.parametrize("use, dtype", [("b", np.float32), ("a", np.float64)])
def test_other_uses_and_dtypes_are_kept_apart(use: str, dtype: type) -> None:
    assert not np.shares_memory(scratch("a", 4, np.float32), scratch(use, 4, dtype))


@pytest.mark.parametrize("shape", [(), (3, 2), (0, 2), (2, 0)])
def test_any_shape_can_be_had(shape: tuple[int, ...]) -> None:
    assert scratch("shape", shape, np.float32).shape == shape


def test_it_is_kept_however_many_rows_it_has_but_not_for_rows_longer_than_a_span() -> None:
    assert LARGE <= KEPT
    for shape, kept in (((8, KEPT), True), (KEPT + 1, False)):
        one = scratch("length", shape, np.uint8)
        assert np.shares_memory(one, scratch("length", shape, np.uint8)) is kept


def test_it_is_anything_unless_zeros_are_asked_for() -> None:
    scratch("zeros", 3, np.int64)[:] = 7
    assert scratch("zeros", 2, np.int64).tolist() == [7, 7] and zeroed("zeros", 3, np.int64).sum() == 0


def test_what_is_set_aside_stays_as_it_is() -> None:
    before = zeroed("aside", 3, np.int64)
    with pytest.raises(ValueError, match="inside"), set_aside():
        scratch("aside", 3, np.int64)[:] = 7
        raise ValueError("inside")
    assert before.sum() == 0 and np.shares_memory(before, scratch("aside", 3, np.int64))
