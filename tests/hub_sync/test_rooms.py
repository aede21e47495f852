from pathlib import Path

import pytest

from coldfusion.errors import RoundError
from hub_sync.rooms import alone_in, short_digest


def test_a_room_is_for_one_at_a_time(tmp_path: Path) -> None:
    room = tmp_path / "a" / "room"
    taken = RoundError("taken")
    with alone_in(room, taken), pytest.raises(RoundError, match="taken"), alone_in(room, taken):
        pytest.fail("two were let in")
    with alone_in(room, RoundError("taken")):
        assert room.is_dir()


def test_what_goes_wrong_inside_is_not_the_rooms_fault(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), alone_in(tmp_path, RoundError("taken")):
        (tmp_path / "gone").read_text()


def test_a_digest_tells_its_parts_apart() -> None:
    assert short_digest("a", "bc") == short_digest("a", "bc") != short_digest("ab", "c")
    assert len(short_digest(None)) == 16
