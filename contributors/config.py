"""How contributors train, bases are probed and work is spread: plain values, checked when made.

Imports nothing heavy, so that a config with a mistake in it is refused at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from coldfusion.errors import ConfigError

POOLING_NAMES = ("mean", "cls")
HEAD_STARTS = ("random", "probe")
TRAINED = ("all", "head")


@dataclass(frozen=True)
class EarlyStopping:
    """When to stop before the last epoch, counted in training examples, whatever the batch size."""

    patience: int = 256_000  # examples without a gain after which training stops
    every: int = 12_800  # examples between two looks at the validation split
    gain: float = 0.001  # accuracy (0 to 1), or R² of labels that are numbers, that counts as one
    validation_share: float = 0.1  # of the training data


@dataclass(frozen=True)
class TrainingConfig:
    """How a contributor fine-tunes. The defaults are the paper's (Don-Yehiya et al. 2023, appendix B)."""

    lr: float = 5e-5  # decays linearly to 0
    head_lr: float | None = None  # of the fresh head, which has further to go; None: lr
    trained: str = "all"  # or "head": the body is frozen, which contributes nothing
    head_start: str = "random"  # or "probe": what fits the frozen base best (Kumar et al. 2022)
    lora_rank: int | None = None  # of the change of each linear layer; None: every parameter is trained
    epochs: float = 10.0
    batch_size: int = 256
    weight_decay: float = 0.01
    warmup: float = 0.006  # share of the steps
    max_length: int = 250  # tokens; longer texts are cut
    max_examples: int | None = None  # drawn at random; None: all
    pooling: str = "mean"
    dropout: float | None = None  # in the body; None: what the base was trained with
    head_dropout: float = 0.1  # before the head
    bf16: bool | None = None  # None: where the machine computes with it
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)

    def __post_init__(self) -> None:
        _check_pooling(self.pooling)
        if self.trained not in TRAINED:
            raise ConfigError(f"trained {self.trained!r} is not one of {', '.join(TRAINED)}")
        if self.head_start not in HEAD_STARTS:
            raise ConfigError(f"head_start {self.head_start!r} is not one of {', '.join(HEAD_STARTS)}")
        _check_above_zero(self, "lr", "lora_rank", "epochs", "batch_size", "max_length")


@dataclass(frozen=True)
class ProbeConfig:
    """How a base is probed."""

    pooling: str = "mean"
    max_length: int = 250  # tokens
    max_examples: int | None = None  # of the training split, drawn at random; None: all
    seeds: list[int] = field(default_factory=lambda: [0])
    folds: int = 3  # of the cross-validation that chooses the regularisation; numbers leave one out
    bf16: bool | None = None  # None: where the machine computes with it

    def __post_init__(self) -> None:
        _check_pooling(self.pooling)
        if self.folds < 2:
            raise ConfigError(f"folds {self.folds} is below 2")


@dataclass(frozen=True)
class LmEvalConfig:
    """What causal language models are scored on, and how: tasks of EleutherAI's lm-eval."""

    tasks: list[str]  # names of tasks, groups and tags; each task in them is one of the suite
    include_path: str | None = None  # a folder of further tasks' YAML files
    metrics: list[str] = field(default_factory=lambda: ["acc", "exact_match"])  # those of these that it has
    num_fewshot: int | None = None  # examples in the prompt, where a task allows them; None: the task's own
    limit: int | None = None  # documents of a task, the first ones; None: all
    batch_size: int = 8
    dtype: str = "auto"  # of the weights: float32, bfloat16, ...; auto: the checkpoint's

    def __post_init__(self) -> None:
        if not self.tasks or not self.metrics:
            raise ConfigError(f"lm_eval.{'metrics' if self.tasks else 'tasks'} names nothing")
        _check_above_zero(self, "limit", "batch_size")


@dataclass(frozen=True)
class PoolConfig:
    """Where work runs, and what one job may use."""

    backend: str = "ray"  # or "serial": in this process
    address: str | None = None  # of a running Ray cluster; None: start Ray on this machine
    workers: int | None = None  # jobs at a time on this machine; None: as many as its cores allow
    cpus: float = 1.0  # of one job; torch gets as many threads (at least one), and the bytes depend on that
    gpus: float = 0.0  # of one job

    def __post_init__(self) -> None:
        if self.backend not in ("ray", "serial"):
            raise ConfigError(f"pool.backend {self.backend!r} is not one of ray, serial")
        if not self.cpus > 0:
            raise ConfigError(f"pool.cpus {self.cpus} is not above 0")


@dataclass(frozen=True)
class JoinConfig:
    """How a contributor takes part in a federation of others."""

    training: TrainingConfig = field(default_factory=TrainingConfig)
    seed: int = 0
    threads: int | None = None  # of torch; None: as many as this machine has cores
    name: str | None = None  # to contribute as; None: the account's
    outbox: str | None = None  # folder where finished contributions wait; None: in the user's state folder
    poll: float = 60.0  # seconds between two looks for a new round
    timeout: float = 60.0  # seconds without a byte after which a call to the Hub has failed

    def __post_init__(self) -> None:
        _check_above_zero(self, "poll", "timeout")


@dataclass(frozen=True)
class CoordinateConfig:
    """How a coordinator runs a federation."""

    tasks: str | None = None  # held-out tasks that bases are scored on: a folder or a suite; None: not scored
    publish_hashes: bool = True  # of their texts, for contributors to check theirs; false: of secret texts
    probe: ProbeConfig = field(default_factory=ProbeConfig)  # a suite's file has its own
    pool: PoolConfig = field(default_factory=PoolConfig)
    workdir: str | None = None  # room for scratch and scores; None: in the user's state folder
    poll: float = 60.0  # seconds between two looks at the open pull requests
    timeout: float = 60.0  # seconds without a byte after which a call to the Hub has failed

    def __post_init__(self) -> None:
        _check_above_zero(self, "poll", "timeout")


def refuse_held_out(contributed: Sequence[str], held_out: Sequence[str]) -> None:
    """A held-out task is one that nobody contributes. Raises ConfigError naming one that is both."""
    if both := sorted(set(contributed) & set(held_out)):
        raise ConfigError(f"held-out task {both[0]!r} is among the contributed ones; take it out of one list")


def _check_above_zero(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and not value > 0:
            raise ConfigError(f"{name} {value} is not above 0")


def _check_pooling(name: str) -> None:
    if name not in POOLING_NAMES:
        raise ConfigError(f"pooling {name!r} is not known; known: {', '.join(POOLING_NAMES)}")
