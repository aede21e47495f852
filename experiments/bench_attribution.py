"""`coldfusion bench attribution`: is a contribution with shuffled labels told apart from a good one?

Federations of three contributors, one round each, everything drawn anew by a seed. Two of the three are
twins: each trains on one half of the same task's examples, one of them on shuffled labels. What the two are
worth, by leaving each out and by the first-order estimate, is found out as in any round. They are told apart
where the honest twin is worth more.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from coldfusion.cards import describe
from coldfusion.config import Policy
from coldfusion.coordinator import Coordinator
from coldfusion.credits import correlation
from coldfusion.errors import RoundError
from coldfusion.federation import Start, found, read_state
from coldfusion.hub import materialise
from coldfusion.records import Evaluation, Worth
from coldfusion.seeds import seed_for
from contributors.config import ProbeConfig, TrainingConfig
from contributors.data import load_examples
from contributors.evaluation import Evaluator, assessing
from contributors.models import prepare_base
from contributors.node import Submission, Turn, contribute
from contributors.pool import Pool
from contributors.scoring import PROBE, Protocol
from contributors.tasks import Task
from experiments.report import machine
from hub_sync.local import LocalHub

HONEST, SHUFFLED, OTHERS = "honest", "shuffled", 1
HELD_OUT = 12
SHOTS = 400
"""Training examples of each contributor."""
LONGEST = 150
"""Characters of a text, on average: of longer ones ten federations would take hours."""
TRAINING = TrainingConfig(lr=2e-4, epochs=8.0, batch_size=32, max_length=64, warmup=0.1)
PROBING = ProbeConfig(max_length=64, max_examples=500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One federation and what its contributions were found to be worth."""

    seed: int
    twins: str  # the task that both have a half of
    worths: tuple[Worth, ...]

    @property
    def honest(self) -> Worth:
        return self._of(HONEST)

    @property
    def shuffled(self) -> Worth:
        return self._of(SHUFFLED)

    @property
    def by_leaving_out(self) -> bool:
        """Whether the honest twin is worth more."""
        honest, shuffled = self.honest.gain, self.shuffled.gain
        return honest is not None and shuffled is not None and honest.mean > shuffled.mean

    @property
    def by_estimate(self) -> bool:
        honest, shuffled = self.honest.estimate, self.shuffled.estimate
        return honest is not None and shuffled is not None and honest > shuffled

    def _of(self, name: str) -> Worth:
        return next(worth for worth in self.worths if worth.contributor == name)


def bench_attribution(base: Path, tasks: Sequence[Task], seeds: Sequence[int], pool: Pool) -> Iterator[Told]:
    """A federation for every seed, each as soon as its round is over."""
    short = [task for task in tasks if len(task.train_texts) >= 2 * SHOTS and _is_short(task)]
    if len(short) < (needed := 1 + OTHERS + HELD_OUT):
        raise RoundError(f"{len(short)} tasks have {2 * SHOTS} short training examples; {needed} are needed")
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="coldfusion-") as room:
            yield _federation(base, short, seed, pool, Path(room))


def _federation(base: Path, tasks: Sequence[Task], seed: int, pool: Pool, room: Path) -> Told:
    drawn = np.random.default_rng(seed_for("attribution", seed)).permutation(len(tasks))
    twins, *rest = [tasks[i] for i in drawn[: 1 + OTHERS + HELD_OUT]]
    hub = LocalHub(room / "store")
    prepare_base(str(base), room / "base")
    policy = Policy(gate=False, leave_one_out=2 + OTHERS)
    found(hub, Start(room / "base"), policy, evaluate=lambda *_: Evaluation(), workdir=room / "founding")
    data = _data(twins, rest[:OTHERS], seed, room)
    state = read_state(hub)
    turns = [
        Turn(
            contributor=name,
            hub=str(hub.root),
            round_index=1,
            base=state.base,
            data=str(path),
            training=TRAINING,
            codec="exact",
            seed=seed_for(seed, name),
            shuffles=name == SHUFFLED,
        )
        for name, path in data.items()
    ]
    start = materialise(hub, state.base, room / "start")
    for turn, result in pool.run(contribute, start, turns, lambda turn, done, total: None):
        if not isinstance(result, Submission):
            raise RoundError(f"{turn.contributor} failed: {result}") from result
    evaluator = Evaluator(pool=pool, cache=room / "scores")
    protocol = Protocol(PROBE, (0,), PROBING)
    coordinator = Coordinator(
        hub=hub,
        workdir=room / "work",
        evaluate=lambda *_: Evaluation(),
        assessor=assessing(evaluator, rest[OTHERS:], protocol),
    )
    return Told(seed=seed, twins=twins.name, worths=coordinator.run_round().worths)


def _data(twins: Task, others: Sequence[Task], seed: int, room: Path) -> dict[str, Path]:
    """Contributor -> its training data: halves for the twins, as many examples for the others."""
    rows = load_examples(twins.train.source).rows.shuffle(seed=seed, keep_in_memory=True)
    parts = {HONEST: rows.select(range(SHOTS)), SHUFFLED: rows.select(range(SHOTS, 2 * SHOTS))}
    for task in others:
        own = load_examples(task.train.source).sample(SHOTS, seed=seed)
        parts[task.name.replace("_", "-")] = own.rows
    for name, part in parts.items():
        part.to_parquet(room / f"{name}.parquet")
    return {name: room / f"{name}.parquet" for name in parts}


def table_of(told: Sequence[Told], base: Path) -> Table:
    """A row for every federation, and how many were told apart."""
    table = Table(
        title=f"attribution: twins, one with shuffled labels; {base.name}, {HELD_OUT} held-out tasks"
    )
    for title in ("seed", "twins' task", "honest, points", "shuffled, points", "apart", "honest, nats"):
        table.add_column(title, justify="left" if title == "twins' task" else "right")
    for title in ("shuffled, nats", "apart", "correlation"):
        table.add_column(title, justify="right")
    for one in told:
        related = correlation(one.worths)
        table.add_row(
            *(str(one.seed), one.twins),
            *(describe(one.honest.gain), describe(one.shuffled.gain), _yes(one.by_leaving_out)),
            *(f"{one.honest.estimate:+.4f}", f"{one.shuffled.estimate:+.4f}", _yes(one.by_estimate)),
            "" if related is None else f"{related:+.2f}",
        )
    counts = [sum(one.by_leaving_out for one in told), sum(one.by_estimate for one in told)]
    known = [c for c in (correlation(one.worths) for one in told) if c is not None]
    mean = f"{math.fsum(known) / len(known):+.2f}" if known else "none"
    table.caption = (
        f"told apart by leaving one out in {counts[0]} of {len(told)}, by the estimate in {counts[1]}; "
        f"mean correlation of the two {mean}; {machine()}"
    )
    return table


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _is_short(task: Task) -> bool:
    return task.characters <= LONGEST * len(task.train_texts)
