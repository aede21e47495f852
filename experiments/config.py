"""The config of a simulation: which base, which tasks, how long, with what."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from omegaconf import MISSING

from coldfusion.cardtext import is_model_name
from coldfusion.config import Policy
from coldfusion.errors import ConfigError
from contributors.config import PoolConfig, ProbeConfig, TrainingConfig, refuse_held_out


@dataclass(frozen=True)
class FineTuneScoreConfig:
    """The fine-tune score costs a whole fine-tune per held-out task: where and how it is taken."""

    rounds: str = "ends"  # "ends": the pretrained model and the last base; "all"; "none"
    seeds: list[int] = field(default_factory=lambda: [0])
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        if self.rounds not in ("ends", "all", "none"):
            raise ConfigError(f"fine_tune_score.rounds {self.rounds!r} is not one of ends, all, none")


@dataclass(frozen=True)
class Harm:
    """A contributor that turns harmful: it trains on labels that were shuffled."""

    contributor: str = MISSING
    from_round: int = 1
    lr_times: float = 1.0  # of its learning rate


@dataclass(frozen=True)
class SimulationConfig:
    """A whole federation on one machine or cluster.

    Every contributed task is a contributor's private data.
    """

    name: str = MISSING
    base: str = MISSING  # a local directory or a model on the Hub: what the federation starts from
    base_name: str | None = None  # of the base on the Hub, for model cards; None: what `base` says itself
    tasks: str = MISSING  # a folder with NAME/train.csv and NAME/test.csv (or tsv, jsonl, parquet)
    held_out: list[str] = MISSING  # tasks that nobody contributes
    contributed: list[str] | None = None  # None: every task of the folder that is not held out
    scored: list[str] | None = None  # contributed tasks that are scored too; None: all of them
    rounds: int = 10
    contributors_per_round: int = 8
    seed: int = 0
    run: str = "runs/${name}"  # directory of everything that the run makes
    policy: Policy = field(default_factory=Policy)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    fine_tune_score: FineTuneScoreConfig = field(default_factory=FineTuneScoreConfig)
    pool: PoolConfig = field(default_factory=PoolConfig)
    harm: list[Harm] = field(default_factory=list)  # to see what a federation does about it

    def __post_init__(self) -> None:
        if self.base_name is not None and not is_model_name(self.base_name):
            raise ConfigError(f"base_name {self.base_name!r} is not the name of a model on the Hub: org/name")
        if self.rounds < 1 or self.contributors_per_round < 1:
            raise ConfigError(
                f"rounds {self.rounds} or contributors_per_round {self.contributors_per_round} is not above 0"
            )
        refuse_held_out(self.contributed or [], self.held_out)

    @property
    def directory(self) -> Path:
        """Where the run is kept."""
        return Path(self.run)

    def same_bytes(self) -> SimulationConfig:
        """The part of the config that the bytes depend on: not how long it runs, nor on how many workers."""
        pool = PoolConfig(cpus=self.pool.cpus, gpus=self.pool.gpus)
        return replace(self, rounds=1, pool=pool)
