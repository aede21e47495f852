"""From a config to a plan: every name looked up, all data read, so that nothing can be missing half-way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coldfusion.errors import ConfigError, DataError
from coldfusion.seeds import seed_for
from contributors.config import refuse_held_out
from contributors.models import check_encoder
from contributors.taskfolder import read_task, task_names
from contributors.tasks import Task
from experiments.config import SimulationConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A config that can be carried out."""

    config: SimulationConfig
    contributed: Sequence[Task]  # each one's training split is a contributor's private data
    held_out: Sequence[Task]
    scored: Sequence[Task]  # the held-out tasks, and those of the contributed ones that are scored too

    def cohort(self, round_index: int) -> list[Task]:
        """The contributors of a round: drawn without replacement, anew for every round, by name.

        Don-Yehiya et al. 2023, section 5.1: 8 of the data sets take part in each iteration.
        """
        rng = np.random.default_rng(seed_for(self.config.seed, "cohort", round_index))
        size = self.config.contributors_per_round
        chosen = rng.choice(len(self.contributed), size=size, replace=False)
        return [self.contributed[i] for i in sorted(chosen)]


def make_plan(config: SimulationConfig) -> Plan:
    """Check everything that a run needs before anything is made.

    Raises ConfigError, DataError or BaseError, naming what is wrong.
    """
    folder = Path(config.tasks)
    there = task_names(folder)
    contributed = config.contributed or [name for name in there if name not in config.held_out]
    scored = contributed if config.scored is None else config.scored
    _check_names(config, contributed, scored, there)
    check_encoder(config.base)
    tasks = {
        name: read_task(folder, name, held_out=name in config.held_out)
        for name in sorted({*contributed, *config.held_out})
    }
    _refuse_same_data(tasks.values())
    return Plan(
        config=config,
        contributed=[tasks[name] for name in sorted(contributed)],
        held_out=[tasks[name] for name in config.held_out],
        scored=[tasks[name] for name in [*config.held_out, *scored]],
    )


def _check_names(
    config: SimulationConfig, contributed: Sequence[str], scored: Sequence[str], there: Sequence[str]
) -> None:
    refuse_held_out(contributed, config.held_out)
    for name in [*contributed, *config.held_out]:
        if name not in there:
            raise DataError(f"tasks={config.tasks}: no task {name!r} there; {', '.join(there[:8])}, ... are")
    if nobody := sorted({harm.contributor for harm in config.harm} - set(contributed)):
        raise ConfigError(f"harm: {nobody[0]!r} is not among the contributed tasks")
    if odd := sorted(set(scored) - set(contributed)):
        raise ConfigError(f"scored task {odd[0]!r} is not among the contributed ones")
    if config.contributors_per_round > len(contributed):
        wanted = config.contributors_per_round
        raise ConfigError(f"contributors_per_round {wanted}: only {len(contributed)} tasks contribute")


def _refuse_same_data(tasks: Iterable[Task]) -> None:
    """A held-out task under another name is still that task, and so is a half of it or its test split."""
    tasks = list(tasks)
    for task in (task for task in tasks if not task.held_out):
        for other in (other for other in tasks if other.held_out):
            shared, total = task.shared_with(other), len(task.train_texts)
            if 2 * shared >= total:
                raise ConfigError(
                    f"contributed task {task.name!r} is held-out {other.name!r} again: "
                    f"{shared} of its {total} texts are there; take it out of one list"
                )
