"""`coldfusion evaluate`: any number of bases on a suite, each compared with the base before it and the first.

What a base of a federation is compared with is known from its record: the base that its round started from,
and the pretrained model of round 0. Other models are compared with the one named before them, and the first.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from coldfusion.checkpoint import weight_files
from coldfusion.errors import BaseError, ConfigError, NotOnHub, RoundError
from coldfusion.federation import read_state
from coldfusion.hub import Hub, materialise
from coldfusion.layout import tag_name
from coldfusion.records import Evaluation
from contributors.evaluation import Evaluator, model_digest
from contributors.jobs import Job, Scored
from contributors.pool import open_pool
from contributors.suites import Suite
from hub_sync.address import open_hub
from hub_sync.rooms import state_folder

Tell = Callable[[str, int, int], None]
"""(what is at work, scores taken, scores in all)."""


@dataclass(frozen=True, slots=True)
class Model:
    """One base on this machine."""

    name: str  # as it was asked for
    directory: Path
    previous: str | None = None  # name of the model that it came from
    pretrained: str | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """One base and what was found of it."""

    name: str
    digest: str  # of its weights
    previous: str | None
    pretrained: str | None
    evaluation: Evaluation


def compare(
    targets: Sequence[str],
    suite: Suite,
    *,
    cache: Path | None = None,
    tell: Tell = lambda label, done, total: None,
) -> Iterator[Compared]:
    """Score every base, and those that it is compared with; one after another as they are done.

    cache: folder of what was predicted before; None: in the user's state folder. Raises ConfigError,
    BaseError, HubError and RoundError.
    """
    done = 0
    with laid_out(targets) as models, open_pool(suite.pool) as workers:
        jobs = suite.jobs
        for model in models.values():
            suite.check(model.directory)
        evaluator = Evaluator(pool=workers, cache=cache or state_folder() / "scores")
        digests = {name: model_digest(model.directory) for name, model in models.items()}
        distinct = {digests[name]: model.directory for name, model in models.items()}
        total = sum(len(evaluator.missing(directory, jobs)) for directory in distinct.values())

        def scored(job: Job, _: Scored) -> None:
            nonlocal done
            done += 1
            tell(job.label, done, total)

        evaluator = replace(evaluator, on_scored=scored)
        for model in (models[name] for name in dict.fromkeys(targets)):
            against = {"pretrained": model.pretrained, "previous": model.previous}
            others = {kind: models[name].directory for kind, name in against.items() if name is not None}
            found = evaluator.evaluate(model.directory, jobs, others)
            yield Compared(model.name, digests[model.name], model.previous, model.pretrained, found)


@contextmanager
def laid_out(targets: Sequence[str]) -> Iterator[dict[str, Model]]:
    """Every base that is named and every one that it is compared with, by name, while the block runs."""
    if not targets:
        raise ConfigError("there is nothing to evaluate: name a REPO, REPO@revision or directory")
    with tempfile.TemporaryDirectory(prefix="coldfusion-") as room:
        models: dict[str, Model] = {}
        for name in dict.fromkeys(targets):
            made = _directory(name) or _of_federation(name, models, Path(room))
            if made.pretrained is None and models:
                named = [model for model in targets[: targets.index(name)] if model in models]
                if named:
                    made = replace(made, previous=named[-1], pretrained=named[0])
            models[name] = made
        yield models


def _directory(name: str) -> Model | None:
    """A checkpoint directory of this machine."""
    path = Path(name)
    if not (path / "config.json").is_file():
        return None
    weight_files(path)
    return Model(name, path)


def _of_federation(name: str, models: dict[str, Model], room: Path) -> Model:
    """A revision of a repo: a base of a federation with what it came from, or any other model."""
    address, _, revision = name.partition("@")
    hub = open_hub(address)
    try:
        record = read_state(hub, at=revision or None).record
    except RoundError:
        return Model(name, _fetched(hub, revision or "main", room))
    except NotOnHub as exc:
        raise BaseError(
            f"{name}: no such revision; {tag_name(0)} is one where there is a federation"
        ) from exc
    pretrained = f"{address}@{tag_name(0)}"
    before = f"{address}@{tag_name(record.round_index - 1)}" if record.round_index else None
    for other in (pretrained, before):
        if other and other not in models and other != name:
            models[other] = Model(other, _fetched(hub, other.partition("@")[2], room))
    own = revision or tag_name(record.round_index)
    if record.round_index == 0:
        return Model(name, _fetched(hub, own, room))
    return Model(name, _fetched(hub, own, room), before, pretrained)


def _fetched(hub: Hub, revision: str, room: Path) -> Path:
    into = room / (at := hub.resolve(revision))
    if not into.exists():
        into.mkdir()
        materialise(hub, at, into)
    return into
