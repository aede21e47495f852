"""A whole federation from one config: contributors on a pool, a coordinator, a Hub in a folder.

Every base is scored. A run that was killed is started again with the same command, goes on where it was, and
ends with the same bytes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from coldfusion.attribution import Assessor, Compared
from coldfusion.cards import describe
from coldfusion.coordinator import Coordinator
from coldfusion.errors import HubError, StorageError
from coldfusion.federation import Evaluate, Start, State, found, read_records, read_state
from coldfusion.hub import materialise
from coldfusion.records import Evaluation, RoundRecord, Verdict
from coldfusion.seeds import seed_for
from contributors.evaluation import Evaluator, assessing, judging, others
from contributors.founding import name_of
from contributors.jobs import Job, Scored
from contributors.node import Submission, Turn, contribute, submitted
from contributors.pool import Pool, open_pool
from contributors.scoring import FINE_TUNE, PROBE, Protocol, jobs_of
from contributors.tasks import Task
from contributors.tracking import Tracker
from experiments.config import SimulationConfig
from experiments.page.contents import published
from experiments.planning import Plan, make_plan
from experiments.progress import RunProgress
from experiments.report import Run, write_report
from experiments.rundir import keep_base, run_directory
from experiments.timing import ROUND, SCORE, TRAIN, Interval, StepClock, Timeline
from hub_sync.local import LocalHub
from hub_sync.modelcards import card_for


def simulate(config: SimulationConfig, progress: RunProgress, *, tracker: Tracker | None = None) -> Run:
    """Run a federation to its last round, or on from where it was interrupted; a report after every round.

    tracker: what every round is logged to as well.
    """
    progress.say(f"reading the tasks in {config.tasks}")
    plan = make_plan(config)
    with run_directory(config) as room, open_pool(config.pool) as pool:
        hub, timeline = LocalHub(room / "store"), Timeline(room / "timeline.jsonl")
        return Simulation(plan, room, pool, progress, hub, timeline, tracker).run()


@dataclass(frozen=True, slots=True)
class Simulation:
    """The parts of a run. `run` takes it to its end."""

    plan: Plan
    room: Path
    pool: Pool
    progress: RunProgress
    hub: LocalHub
    timeline: Timeline
    tracker: Tracker | None = None

    def run(self) -> Run:
        """Found the federation, run the rounds that are left, and keep the newest base and the report."""
        config = self.plan.config
        found(
            self.hub,
            Start(self.room / "pretrained", config.base_name or name_of(config.base)),
            config.policy,
            evaluate=partial(self._evaluate, 0),
            workdir=self.room / "work",
            card=card_for(self.hub),
        )
        while (state := read_state(self.hub)).record.round_index < config.rounds:
            self._round(state)
            self._keep()
        self._coordinator(config.rounds).finish()
        return self._keep()

    def _round(self, state: State) -> None:
        index, started = state.open_round, time.time()
        with self.progress.round(index):
            absent = self._contribute(state)
            record = self._coordinator(index).run_round(absent)
        self.timeline.add(Interval(ROUND, index, "", started, time.time()))
        self.progress.say(round_line(record, self.timeline))

    def _contribute(self, state: State) -> list[Verdict]:
        """Let the round's contributors take their turns; the verdicts on those that failed."""
        absent, there = [], submitted(self.hub, state.open_round)
        turns = [turn for turn in self._turns(state) if turn.contributor not in there]
        with self._base(state) as base, self.progress.stage("contributing", len(turns)):
            for turn, result in self.pool.run(contribute, base, turns, self._on_turn):
                if isinstance(result, Submission):
                    self.timeline.add(Interval(TRAIN, state.open_round, turn.contributor, *result.training))
                    self.progress.finish(turn.contributor, result.num_passes)
                elif isinstance(result, StorageError | HubError):
                    raise result  # this machine's or the Hub's trouble, not the contributor's
                else:
                    reason = f"failed before it submitted: {type(result).__name__}: {result}"
                    absent.append(Verdict(contributor=turn.contributor, reasons=(reason,)))
                    self.progress.finish(turn.contributor, 0, " failed")
        return absent

    def _turns(self, state: State) -> list[Turn]:
        cohort = sorted(self.plan.cohort(state.open_round), key=lambda task: -task.characters)
        return [self._turn(state, task) for task in cohort]

    def _turn(self, state: State, task: Task) -> Turn:
        config, index = self.plan.config, state.open_round
        harm = [h for h in config.harm if h.contributor == task.name and h.from_round <= index]
        rate = config.training.lr * (harm[0].lr_times if harm else 1.0)
        return Turn(
            contributor=task.name,
            hub=str(self.hub.root),
            round_index=index,
            base=state.base,
            data=task.train.source,
            training=replace(config.training, lr=rate),
            codec=config.policy.codecs[0],
            seed=seed_for(config.seed, "round", index, task.name),
            shuffles=bool(harm),
        )

    def _on_turn(self, turn: Turn, done: int, total: int) -> None:
        self.progress.update(turn.contributor, done, total)

    @contextmanager
    def _base(self, state: State) -> Iterator[Path]:
        """The base that the contributors start from, laid out while they work."""
        with tempfile.TemporaryDirectory(dir=self.room) as directory:
            yield materialise(self.hub, state.base, Path(directory))

    def _coordinator(self, index: int) -> Coordinator:
        return Coordinator(
            hub=self.hub,
            workdir=self.room / "work",
            evaluate=partial(self._evaluate, index),
            judge=self._judge(index),
            assessor=self._assessor(index),
            card=card_for(self.hub),
            on_step=StepClock(self.timeline, index),
        )

    def _evaluate(self, index: int, base: Path, before: Path | None) -> Evaluation:
        config, evaluator = self.plan.config, self._evaluator(index)
        wanted = config.fine_tune_score.rounds
        fine_tunes = wanted == "all" or (wanted == "ends" and index in (0, config.rounds))
        protocols = [self._probe]
        if fine_tunes:
            fine = config.fine_tune_score
            protocols.append(Protocol(FINE_TUNE, tuple(fine.seeds), fine.training))
        jobs = jobs_of(self.plan.scored, protocols)
        missing = evaluator.missing(base, jobs)
        with self.progress.stage("scoring", len(missing), each=fine_tunes):
            return evaluator.evaluate(base, jobs, others(self.room / "pretrained", before))

    def _judge(self, index: int) -> Evaluate | None:
        judge = judging(self._evaluator(index), self.plan.held_out, [self._probe])
        if judge is None:
            return None

        def judged(candidate: Path, before: Path | None) -> Evaluation:
            with self.progress.stage("judging", len(self.plan.held_out), each=False):
                return judge(candidate, before)

        return judged

    def _assessor(self, index: int) -> Assessor | None:
        assessor = assessing(self._evaluator(index), self.plan.held_out, self._probe)
        if assessor is None:
            return None
        compare = assessor.compare

        def compared(base: Path, without: Path) -> Compared:
            with self.progress.stage("leaving one out", len(self.plan.held_out), each=False):
                return compare(base, without)

        return replace(assessor, compare=compared)

    @property
    def _probe(self) -> Protocol:
        config = self.plan.config.probe
        return Protocol(PROBE, tuple(config.seeds), config)

    def _evaluator(self, index: int) -> Evaluator:
        return Evaluator(
            pool=self.pool,
            cache=self.room / "scores",
            on_progress=lambda job, done, total: self.progress.update(job.label, done, total),
            on_scored=partial(self._on_scored, index),
        )

    def _on_scored(self, index: int, job: Job, scored: Scored) -> None:
        self.timeline.add(Interval(SCORE, index, job.label, *scored.interval))
        self.progress.finish(job.label, scored.num_examples)

    def _keep(self) -> Run:
        keep_base(self.hub, self.room)
        records = tuple(read_records(self.hub))
        run = Run(self.plan.config, self.room, records, self.timeline, published(self.hub, records))
        write_report(run)
        if self.tracker is not None:
            seconds = {record.round_index: self._seconds(record.round_index) for record in run.records}
            self.tracker.log(self.hub, run.records, name=self.plan.config.name, more=seconds)
        return run

    def _seconds(self, index: int) -> dict[str, float]:
        split = self.timeline.split(index)
        if split is None:
            return {}
        parts = {"round": split.seconds, "training": split.train, "scoring": split.score}
        return {f"seconds/{name}": round(value, 3) for name, value in parts.items()}


def round_line(record: RoundRecord, timeline: Timeline) -> str:
    """One line about a round: what was fused, the held-out gain, where the time went."""
    parts = [f"round {record.round_index}: {record.num_accepted} of {len(record.entries)} fused"]
    if gain := record.evaluation.gain(PROBE, held_out=True):
        score = record.evaluation.mean_score(PROBE, held_out=True)
        parts.append(f"held-out probe {score:.2f}, gain {describe(gain)}")
    if split := timeline.split(record.round_index):
        parts.append(
            f"{split.seconds:.0f} s: training {split.train:.0f}, scoring {split.score:.0f}, "
            f"neither {split.neither:.1f} ({split.overhead:.1%})"
        )
    return " · ".join(parts)
