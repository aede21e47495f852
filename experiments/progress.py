"""What a run shows while it works: bars in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

SILENCE = 30.0  # seconds after which somebody without a terminal hears of a job that is still at work
STAGES = {"contributing": (0.0, 0.7), "scoring": (0.7, 0.3)}
"""About what share of a round lies before a stage, and within it."""


@dataclass
class Stage:
    """Jobs that run side by side: how many there are, are done, and how far each one is."""

    title: str
    total: int
    each: bool = True  # without a terminal: a line for every job, or one for all of them
    finished: set[str] = field(default_factory=set)  # names of jobs
    examples: int = 0  # of finished jobs
    started: float = field(default_factory=time.monotonic)
    running: dict[str, tuple[int, int]] = field(default_factory=dict)  # name -> (done, in all), in examples

    @property
    def share(self) -> float:
        """Of the stage that is done, 0 to 1, counting unfinished jobs by their examples."""
        parts = sum(done / total for done, total in self.running.values() if total)
        return min(1.0, (len(self.finished) + parts) / max(1, self.total))

    @property
    def rate(self) -> float:
        """Examples per second since the stage began, over all workers."""
        seen = self.examples + sum(done for done, _ in self.running.values())
        return seen / max(1e-9, time.monotonic() - self.started)


class RunProgress:
    """Round, contributor, examples per second and the time that is left.

    rounds: of the run in all. The time left is read off the rounds that this process has seen; in the first
    one, off the share of it that is done.
    """

    def __init__(self, console: Console, rounds: int) -> None:
        self.console, self.rounds = console, rounds
        self._stage: Stage | None = None
        self._round = 0
        self._past: list[float] = []  # seconds of the rounds seen
        self._round_started = self._last_line = time.monotonic()
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
        )
        self._lines: dict[str, TaskID] = {}

    def say(self, text: str) -> None:
        """A line that stays."""
        self._last_line = time.monotonic()
        self.console.print(text, highlight=False, soft_wrap=True)

    @contextmanager
    def round(self, index: int) -> Iterator[None]:
        """What happens inside is round `index`."""
        self._round, self._round_started = index, time.monotonic()
        yield
        self._past.append(time.monotonic() - self._round_started)

    @contextmanager
    def stage(self, title: str, total: int, *, each: bool = True) -> Iterator[Stage]:
        """What happens inside are `total` jobs side by side."""
        self._stage = Stage(title, total, each)
        with self._bars if self.console.is_terminal else _nothing():
            self._lines = {"": self._bars.add_task(self._where(title), total=1.0, note="")}
            try:
                yield self._stage
            finally:
                for line in self._lines.values():
                    self._bars.remove_task(line)
                self._lines, self._stage = {}, None

    def update(self, name: str, done: int, total: int) -> None:
        """A job has come so far."""
        stage = self._stage
        if stage is None or name in stage.finished:  # the last news of a job may come after its result
            return
        stage.running[name] = (done, total)
        if name not in self._lines:
            self._lines[name] = self._bars.add_task(f"  {name}", total=max(1, total), note="")
        self._bars.update(self._lines[name], completed=done, note=f"{done:,} of {total:,} examples")
        self._refresh()
        if not self.console.is_terminal and time.monotonic() - self._last_line > SILENCE:
            self._say_where(stage, f"{name}: {done:,} of {total:,}")

    def finish(self, name: str, examples: int, note: str = "") -> None:
        """A job is done, one way or the other."""
        stage = self._stage
        if stage is None:
            return
        stage.running.pop(name, None)
        stage.finished.add(name)
        stage.examples += examples
        if name in self._lines:
            self._bars.remove_task(self._lines.pop(name))
        self._refresh()
        if not self.console.is_terminal and (stage.each or len(stage.finished) == stage.total):
            self._say_where(stage, f"{name}{note}" if stage.each else "done")

    def _say_where(self, stage: Stage, what: str) -> None:
        where = f"{self._where(stage.title)} · {len(stage.finished)}/{stage.total}"
        self.say(f"{where} · {what} · {self._summary()}")

    def _refresh(self) -> None:
        if self._stage is not None:
            self._bars.update(self._lines[""], completed=self._stage.share, note=self._summary())

    def _where(self, title: str) -> str:
        return f"round {self._round}/{self.rounds} · {title}"

    def _summary(self) -> str:
        assert self._stage is not None
        left = self.seconds_left()
        eta = f" · ETA {_clock(left)}" if left is not None else ""
        return f"{self._stage.rate:,.0f} examples/s{eta}"

    def seconds_left(self) -> float | None:
        """Until the run ends; None while there is nothing to judge by."""
        inside = time.monotonic() - self._round_started
        if self._past:
            typical = sum(self._past) / len(self._past)
        elif share := self._share_of_round():
            typical = inside / share
        else:
            return None
        return max(typical - inside, 0.0) + typical * (self.rounds - self._round)

    def _share_of_round(self) -> float:
        """How much of the current round is done, judging by its stage: a guess, for the first round alone."""
        if self._round == 0 or self._stage is None or self._stage.title not in STAGES:
            return 0.0
        before, size = STAGES[self._stage.title]
        return before + size * self._stage.share


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
