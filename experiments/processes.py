"""What a command costs: wall clock, processor time, and the most memory that it and its children held."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from coldfusion.errors import ConfigError

EVERY = 0.01
"""Seconds between two looks at the memory."""

LONG = 60.0
"""Seconds from which a command is run once."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one command, from its start to its end."""

    seconds: float
    cpu_seconds: float
    peak_mb: float  # resident memory, 2^20 bytes; pages of mapped files count while they are mapped
    output: str


@dataclass(frozen=True, slots=True)
class Measured:
    """One command, as often as it ran."""

    command: Callable[[Path], list[str]]  # where to write -> what to run
    costs: list[Cost] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return median(cost.seconds for cost in self.costs)

    @property
    def cpu_seconds(self) -> float:
        return median(cost.cpu_seconds for cost in self.costs)

    @property
    def peak_mb(self) -> float:
        return max(cost.peak_mb for cost in self.costs)

    @property
    def is_long(self) -> bool:
        return bool(self.costs) and self.costs[0].seconds > LONG


def run_in_turns(
    commands: Sequence[Measured],
    runs: int,
    room: Path,
    environment: Mapping[str, str],
    *,
    warm: Callable[[], None],
) -> None:
    """Run every command `runs` times in turns, so that a busy moment of the machine hits all of them.

    Outputs go to a directory under `room` and are deleted. `warm` is called before every turn.
    """
    for _ in range(runs):
        warm()
        for measured in commands:
            if not measured.is_long:
                with tempfile.TemporaryDirectory(dir=room) as folder:
                    measured.costs.append(cost_of(measured.command(Path(folder) / "out"), environment))


def cost_of(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command and measure it. Raises ConfigError with the end of what it said where it fails."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        peaks, over = [0], threading.Event()
        watch = threading.Thread(target=_watch, args=(process.pid, peaks, over))
        watch.start()
        output, _ = process.communicate()
        seconds = time.perf_counter() - started
        over.set()
        watch.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        said = output.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        raise ConfigError(f"{' '.join(command[:3])} ... failed: {said[0]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(seconds, cpu, peaks[0] / 1024, output)


def _watch(pid: int, peaks: list[int], over: threading.Event) -> None:
    """Keep in peaks[0] the most kB that the tree held; a single process is asked for its own high-water mark.

    Resource usage would not do: a child's starts with what its parent held when it was made.
    """
    while not over.wait(EVERY):
        tree = _tree(pid)
        held = [_status_kb(member, "VmHWM" if len(tree) == 1 else "VmRSS") for member in tree]
        peaks[0] = max(peaks[0], sum(held))


def _tree(pid: int) -> list[int]:
    found = [pid]
    for member in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{member}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text(encoding="ascii").split()]
    return found


def _status_kb(pid: int, field_name: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith(field_name):
                return int(line.split()[1])
    return 0
