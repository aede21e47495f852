from collections.abc import Iterator

import pytest
import torch

from contributors.devices import side_by_side


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_every_item_is_taken_once_and_torch_has_its_threads_back(threads: int) -> None:
    taken = []
    seen = set()

    def work(items: Iterator[int]) -> None:
        for item in items:
            taken.append(item)
            seen.add(torch.get_num_threads())

    side_by_side(work, range(100))
    assert sorted(taken) == list(range(100)) and seen == {1}
    assert torch.get_num_threads() == threads


def test_an_item_that_fails_is_the_last(threads: int) -> None:
    taken = []

    def work(items: Iterator[int]) -> None:
        for item in items:
            taken.append(item)
            if item == 3:
                raise ValueError("no soup")

    with pytest.raises(ValueError, match="no soup"):
        side_by_side(work, iter(lambda: len(taken), None))  # without an end
    assert 3 in taken
