from collections.abc import Iterator

import pytest

from tests.coldfusion.accumulators import Room, furnished


@pytest.fixture(scope="module")
def furnished_room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    return furnished(tmp_path_factory.mktemp("accumulator"))


@pytest.fixture
def room(furnished_room: Room) -> Iterator[Room]:
    yield furnished_room
    (furnished_room.path / "sum").unlink(missing_ok=True)
