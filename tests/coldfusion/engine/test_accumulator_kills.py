"""Whoever is shot in the middle of a change leaves the accumulator from before."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.coldfusion.accumulators import Room, fresh

KILLED = r"""
import os, signal, sys
from pathlib import Path
from coldfusion.engine.accumulator import Accumulator
from coldfusion.checkpoint import Checkpoint
from coldfusion.engine.crews import Threads
from coldfusion.engine.sources import CheckpointSource

room, verb, fatal, real, writes = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), os.pwrite, []

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def pwrite(fd, data, position):
    writes.append(position)
    if len(writes) == fatal:
        real(fd, bytes(data)[: len(data) // 2], position)
        die()
    return real(fd, data, position)

os.pwrite = pwrite
if not fatal:
    os.replace = die
bob = CheckpointSource("bob", Checkpoint(room / "bob"))
accumulator = Accumulator.open(room / "sum", Checkpoint(room / "base"))
getattr(accumulator, verb)(bob, crew=Threads(1))
"""


@pytest.mark.parametrize("verb", ["add", "remove"])
@pytest.mark.parametrize("write", [1, 2, 15, 0])
def test_a_kill_in_the_middle_leaves_what_was_there(room: Room, verb: str, write: int) -> None:
    """Half of that write is done; 0: all of them, but for the rename. The change can be made again."""
    accumulator = room.new()
    accumulator.add(room.sources["alice"])
    if verb == "remove":
        accumulator.add(room.sources["bob"])
    digest = room.digest
    arguments = [sys.executable, "-c", KILLED, str(room.path), verb, str(write)]
    done = subprocess.run(arguments, cwd=Path(__file__).parents[2], capture_output=True, check=False)
    assert done.returncode == -9 and room.digest == digest, done.stderr
    assert list(room.path.glob(".sum.*.partial"))
    getattr(accumulator, verb)(room.sources["bob"])
    left = {"alice": 1, "bob": 1} if verb == "add" else {"alice": 1}
    assert room.fused(accumulator) == room.fused_at_once(left)
    assert not list(room.path.glob(".sum.*.partial"))


@pytest.mark.parametrize("verb", ["fused", "without"])
def test_a_kill_while_fusing_leaves_no_file_under_its_name(room: Room, verb: str) -> None:
    accumulator = room.new()
    for key in ("alice", "bob"):
        accumulator.add(room.sources[key])
    script = KILLED.replace("(bob, ", "(bob, room / 'out', " if verb == "without" else "(room / 'out', ")
    fresh(room.path / "out")
    arguments = [sys.executable, "-c", script, str(room.path), verb, "9"]
    done = subprocess.run(arguments, cwd=Path(__file__).parents[2], capture_output=True, check=False)
    assert done.returncode == -9, done.stderr
    assert all(path.name.endswith(".partial") for path in (room.path / "out").iterdir())
