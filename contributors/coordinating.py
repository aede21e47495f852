"""`coldfusion coordinate`: the fusion coordinator of a federation, for one round or for every one.

What scores bases is imported where a suite is named: without torch and Ray a coordinator starts in a second.
"""

from __future__ import annotations

import os
import resource
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from coldfusion.attribution import Assessor
from coldfusion.cards import describe
from coldfusion.coordinator import Coordinator
from coldfusion.errors import ColdFusionError, ManifestError, RoundError, StaleParent, writing
from coldfusion.federation import Evaluate, read_records
from coldfusion.gating import PROBE
from coldfusion.heldout import HELD_OUT, fetch_held_out, write_held_out
from coldfusion.hub import Hub, materialise
from coldfusion.layout import tag_name
from coldfusion.records import Evaluation, RoundRecord
from coldfusion.watching import Watch
from contributors.config import CoordinateConfig
from contributors.tracking import Stopwatch, Tracker
from hub_sync.address import Remote, open_hub
from hub_sync.pacing import Pacer
from hub_sync.rooms import alone_in, short_digest, state_folder

if TYPE_CHECKING:
    from contributors.suites import Suite

STEPS = {
    "admit": "fetching what was submitted",
    "screen": "screening",
    "fuse": "fusing",
    "attribute": "finding out what each contribution is worth",
    "evaluate": "evaluating the candidate",
    "publish": "publishing",
}
"""What is said of a round's steps; see `coldfusion.coordinator.STEPS`."""


def coordinate(
    repo: str,
    config: CoordinateConfig,
    *,
    watch: bool,
    say: Callable[[str], None],
    tracker: Tracker | None = None,
) -> None:
    """Run the open round of the federation at an address if it is due, or every round as it fills.

    tracker: what the rounds are logged to, those that were published before too.
    """
    from hub_sync.modelcards import card_for  # brings the Hub's client: a store in a folder starts without it

    pacer, room = Pacer(), _room(repo, config)
    fetched = room / "fetched"
    remote = Remote(pacer=pacer, timeout=config.timeout, cache=fetched)
    hub = open_hub(repo, author="coordinator", remote=remote)
    _allow_open_files()
    taken = RoundError(f"{room}: a coordinator is at work there; this coordinator stops")
    suite = _suite(config)
    with alone_in(room, taken), _evaluation(hub, suite, config, room) as (evaluate, judge, assessor):
        stopwatch = Stopwatch()

        def on_step(step: str) -> None:
            stopwatch(step)
            if step in STEPS:
                say(STEPS[step])

        coordinator = Coordinator(
            hub=hub,
            workdir=room / "work",
            evaluate=evaluate,
            judge=judge,
            assessor=assessor,
            held_out=_held_out(hub, suite, room, say) if suite and config.publish_hashes else None,
            card=card_for(hub),
            on_step=on_step,
            on_trouble=say,
        )
        watching = Watch(coordinator=coordinator, say=say, poll=config.poll)
        try:
            for found in watching.rounds() if watch else [watching.run_open_round()]:
                say(_line(found) if isinstance(found, RoundRecord) else str(found))
                _track(tracker, hub, stopwatch, say)
                say(_calls(pacer))
                shutil.rmtree(
                    fetched, ignore_errors=True
                )  # or every delta there ever was would fill the disk
        except StaleParent as exc:
            raise RoundError(f"{exc}: it coordinates this federation; this coordinator stops") from exc


def _suite(config: CoordinateConfig) -> Suite | None:
    """The held-out tasks that the config names."""
    if config.tasks is None:
        return None
    from contributors.scoring import Protocol
    from contributors.suites import read_suite

    suite = read_suite(Path(config.tasks))
    if not Path(config.tasks).is_dir():
        return suite  # a suite's file says itself how bases are scored
    return replace(suite, protocols=(Protocol(PROBE, tuple(config.probe.seeds), config.probe),))


def _held_out(hub: Hub, suite: Suite, room: Path, say: Callable[[str], None]) -> Path:
    """A file of hashes of the suite's texts. The salt stays as it is: the same suite gives the same bytes."""
    from contributors.hygiene import hold_out

    try:
        published = fetch_held_out(hub, at=hub.head())
    except ManifestError as exc:
        say(f"{exc}; it is made anew")
        published = None
    made = hold_out(suite.tasks, published.salt if published else secrets.token_bytes(16))
    tasks, texts = len(made.terms.tasks), made.terms.num_texts
    say(f"held-out tasks: {tasks}, texts: {texts:,}; contributors check theirs against {HELD_OUT}")
    return write_held_out(made, room / HELD_OUT)


def _track(tracker: Tracker | None, hub: Hub, stopwatch: Stopwatch, say: Callable[[str], None]) -> None:
    """Log every round. A dashboard that cannot be reached stops nobody: the next round logs this one too."""
    if tracker is None:
        return
    try:
        records = read_records(hub)
        tracker.log(hub, records, more={records[-1].round_index: stopwatch.seconds})
    except ColdFusionError as exc:
        say(f"not in trackio yet: {exc}")


def _room(repo: str, config: CoordinateConfig) -> Path:
    if config.workdir:
        return Path(config.workdir)
    return state_folder() / "coordinator" / short_digest(os.environ.get("HF_ENDPOINT", ""), repo)


def _allow_open_files() -> None:
    """One file is open for every contribution of a round, and the usual limit is 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems set a limit of their own
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def _evaluation(
    hub: Hub, suite: Suite | None, config: CoordinateConfig, room: Path
) -> Iterator[tuple[Evaluate, Evaluate | None, Assessor | None]]:
    """(how bases are scored, how candidates are judged, what finds out the worth of contributions).

    On a suite of held-out tasks; not without.
    """
    if suite is None:
        yield lambda base, before: Evaluation(), None, None
        return
    from contributors.evaluation import Evaluator, assessing, judging, others
    from contributors.pool import open_pool
    from contributors.scoring import Protocol

    pretrained, probe = room / "pretrained", Protocol(PROBE, tuple(config.probe.seeds), config.probe)
    judged = next((protocol for protocol in suite.protocols if protocol.name == PROBE), probe)
    with writing(pretrained):
        pretrained.mkdir(exist_ok=True)
    materialise(hub, hub.resolve(tag_name(0)), pretrained)
    suite.check(pretrained)
    with open_pool(config.pool) as pool:
        evaluator = Evaluator(pool=pool, cache=room / "scores")
        yield (
            lambda base, before: evaluator.evaluate(base, suite.jobs, others(pretrained, before)),
            judging(evaluator, suite.tasks, [judged]),
            assessing(evaluator, suite.tasks, judged),
        )


def _line(record: RoundRecord) -> str:
    refused = len(record.entries) - record.num_accepted
    parts = [f"round {record.round_index} is published: {record.num_accepted} fused, {refused} refused"]
    parts += [f"{e.contributor}: {'; '.join(e.reasons)}" for e in record.entries if not e.accepted]
    if gain := record.evaluation.gain(PROBE, held_out=True):
        parts.append(f"held-out probe gain {describe(gain)}")
    return " · ".join(parts)


def _calls(pacer: Pacer) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(pacer.calls.items()))
    return f"{pacer.total} calls to the Hub so far" + (f" ({kinds})" if kinds else "")
