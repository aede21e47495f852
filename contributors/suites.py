"""A suite: the held-out tasks that bases are scored on, and how. A YAML file, or a folder of tasks.

    tasks:
      - {name: reviews, train: reviews/train.csv, test: reviews/test.csv}
      - name: cola
        train: nyu-mll/glue:cola                    # a data set on the Hub, optionally with its configuration
        test: nyu-mll/glue:cola
        test_split: validation
        columns: {text: sentence}                   # ours: theirs
        metrics: [matthews]
      - name: sts                                   # labels are numbers: a column of floats
        train: nyu-mll/glue:stsb
        test: nyu-mll/glue:stsb
        test_split: validation
        columns: {text: sentence1, text_pair: sentence2}
        metrics: [spearman, pearson, loss]
    protocols: [probe, few-shot]
    seeds: [0, 1, 2]                                # of every protocol but probe, which has its own
    few_shot: {max_examples: 100}

Paths are relative to the file. What is not said has the paper's values (Don-Yehiya et al. 2023).

A suite of causal language models names tasks of EleutherAI's lm-eval instead, which `coldfusion[lm-eval]`
installs. A group (mmlu) or tag (ai2_arc) stands for all of its tasks.

    lm_eval:
      tasks: [hellaswag, arc_easy, moods]
      include_path: my_tasks                        # YAML files of further tasks, such as moods
      metrics: [acc_norm, exact_match]              # those of these that a task has; default acc, exact_match
      num_fewshot: 5
      limit: 500                                    # documents of each task
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from coldfusion.config import load
from coldfusion.errors import ConfigError
from coldfusion.metrics import metric_named
from contributors.config import LmEvalConfig, PoolConfig, ProbeConfig, TrainingConfig
from contributors.data import Split
from contributors.jobs import Job
from contributors.lmeval import LmJob, lm_jobs
from contributors.models import check_causal
from contributors.scoring import FEW_SHOT, FINE_TUNE, HEAD, PROBE, PROTOCOLS, Protocol, jobs_of
from contributors.taskfolder import read_tasks
from contributors.tasks import Task, check_task

SHOTS = 100
"""Labelled examples of a few-shot score (Don-Yehiya et al. 2023, section 5.3)."""


@dataclass(frozen=True)
class SuiteTask:
    """One task of a suite."""

    name: str
    train: str  # a file, a folder that `Dataset.save_to_disk` wrote, or a data set on the Hub
    test: str
    train_split: str = "train"  # where the source has several
    test_split: str = "test"
    columns: dict[str, str] = field(default_factory=dict)  # ours (text, text_pair, label): the source's
    metrics: list[str] | None = None  # None: accuracy, or spearman where labels are numbers
    max_train: int | None = None  # examples, drawn at random once and for all; None: all
    max_test: int | None = None


def _few_shot() -> TrainingConfig:
    # The paper says only how many examples. Ten of its epochs would be ten steps; this is some 130.
    return TrainingConfig(max_examples=SHOTS, batch_size=16, epochs=20.0)


@dataclass(frozen=True)
class SuiteConfig:
    """The schema of a suite's file."""

    tasks: list[SuiteTask] = field(default_factory=list)
    protocols: list[str] = field(default_factory=lambda: [PROBE])
    seeds: list[int] = field(default_factory=lambda: [0])
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    head: TrainingConfig = field(default_factory=TrainingConfig)
    few_shot: TrainingConfig = field(default_factory=_few_shot)
    fine_tune: TrainingConfig = field(default_factory=TrainingConfig)
    lm_eval: LmEvalConfig | None = None  # instead of tasks, protocols and the rest
    pool: PoolConfig = field(default_factory=PoolConfig)


@dataclass(frozen=True, slots=True)
class Suite:
    """What bases are scored on, read and found good, how, and where the work runs."""

    tasks: tuple[Task, ...]
    protocols: tuple[Protocol, ...]
    pool: PoolConfig
    lm_jobs: tuple[LmJob, ...] = ()  # of a suite of causal language models, which has no tasks

    @property
    def jobs(self) -> list[Job]:
        """Every score that there is to take of a base."""
        return [*jobs_of(self.tasks, self.protocols), *self.lm_jobs]

    def check(self, base: Path) -> None:
        """Raise BaseError where lm-eval is asked for, and the checkpoint is no causal language model."""
        if self.lm_jobs:
            check_causal(str(base))


def read_suite(path: Path, overrides: Sequence[str] = (), *, protocols: Sequence[str] = ()) -> Suite:
    """The suite of a YAML file, or of a folder of tasks with everything else as it is by default.

    overrides: key=value, laid over the file. protocols: instead of the file's. Raises ConfigError and
    DataError, naming what is wrong, before anything is computed.
    """
    config = load(SuiteConfig, None if path.is_dir() else path, overrides)
    if config.lm_eval is not None:
        return _of_language_models(config, config.lm_eval, path, protocols)
    names = list(protocols) or config.protocols
    chosen = tuple(_protocol(name, config) for name in dict.fromkeys(names))
    if path.is_dir():
        return Suite(tuple(read_tasks(path)), chosen, config.pool)
    if not config.tasks:
        raise ConfigError(f"{path}: names no task; add tasks: [{{name: ..., train: ..., test: ...}}]")
    for name in (task.name for task in config.tasks):
        if sum(task.name == name for task in config.tasks) > 1:
            raise ConfigError(f"{path}: two tasks are called {name!r}; name them apart")
    return Suite(tuple(_task(task, path) for task in config.tasks), chosen, config.pool)


def _of_language_models(
    config: SuiteConfig, lm_eval: LmEvalConfig, path: Path, protocols: Sequence[str]
) -> Suite:
    if config.tasks or path.is_dir():
        raise ConfigError(
            f"{path}: tasks are for encoders and lm_eval for causal language models; make a suite of each"
        )
    if protocols:
        raise ConfigError(f"{path}: protocol {protocols[0]!r} is for encoders; lm_eval is taken without one")
    if lm_eval.include_path is not None:
        folder = path.parent / lm_eval.include_path
        if not folder.is_dir():
            raise ConfigError(f"{path}: lm_eval.include_path {lm_eval.include_path}: no such folder")
        lm_eval = replace(lm_eval, include_path=str(folder.resolve()))
    return Suite((), (), config.pool, lm_jobs(lm_eval))


def _protocol(name: str, config: SuiteConfig) -> Protocol:
    settings: dict[str, ProbeConfig | TrainingConfig] = {
        PROBE: config.probe,
        HEAD: config.head,
        FEW_SHOT: config.few_shot,
        FINE_TUNE: config.fine_tune,
    }
    if name not in settings:
        raise ConfigError(f"unknown protocol {name!r}; known: {', '.join(PROTOCOLS)}")
    return Protocol(name, tuple(config.probe.seeds if name == PROBE else config.seeds), settings[name])


def _task(task: SuiteTask, path: Path) -> Task:
    if task.metrics == []:
        raise ConfigError(f"{path}: task {task.name!r} has no metric; leave `metrics` out for the usual one")
    for metric in task.metrics or ():
        metric_named(metric)
    if odd := sorted(task.columns.keys() - {"text", "text_pair", "label"}):
        raise ConfigError(
            f"{path}: task {task.name!r}: columns are text, text_pair and label, not {odd[0]!r}"
        )
    columns = tuple(sorted(task.columns.items()))
    train = Split(_source(task.train, path), task.train_split, columns, task.max_train)
    test = replace(train, source=_source(task.test, path), split=task.test_split, most=task.max_test)
    return check_task(task.name, train, test, held_out=True, metrics=task.metrics or ())


def _source(name: str, suite: Path) -> str:
    """A path beside the suite's file where there is one, else the name as it is."""
    beside = suite.parent / name
    return str(beside) if beside.exists() else name
