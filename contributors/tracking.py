"""The numbers of every round in trackio, for its dashboard on this machine.

They go straight into trackio's own store: `trackio.init` would ask the Hub who we are. A round has the same
id whenever it is logged, so that one that is there already, from before a restart, stays as it is.
"""

from __future__ import annotations

import importlib
import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coldfusion.coordinator import STEPS
from coldfusion.errors import ConfigError, StorageError
from coldfusion.hub import Hub
from coldfusion.layout import tag_name
from coldfusion.numbers import numbers_of
from coldfusion.records import RoundRecord
from hub_sync.address import repo_name
from hub_sync.rooms import short_digest, state_folder

PROJECT = "coldfusion"
NOTHING: Mapping[int, Mapping[str, float]] = {}


@dataclass(frozen=True, slots=True)
class Tracker:
    """Logs the rounds of federations, each of which is a run of one project."""

    storage: Any  # trackio's SQLiteStorage
    folder: Path

    def log(
        self,
        hub: Hub,
        records: Sequence[RoundRecord],
        *,
        name: str | None = None,
        more: Mapping[int, Mapping[str, float]] = NOTHING,
    ) -> None:
        """Log those of these rounds that are not there yet.

        name: of the run; None: of the repo. more: round -> numbers that its record does not hold. Raises
        StorageError.
        """
        founded = hub.resolve(tag_name(0))  # one that was begun anew under the same name is another run
        run = short_digest(hub.address, founded)
        try:
            self.storage.bulk_log(
                project=PROJECT,
                run=name or repo_name(hub) or hub.address,
                run_id=run,
                metrics_list=[{**numbers_of(one), **more.get(one.round_index, {})} for one in records],
                steps=[record.round_index for record in records],
                log_ids=[f"{run}-{record.round_index}" for record in records],
            )
        except (OSError, sqlite3.Error) as exc:
            raise StorageError(f"cannot write {self.folder}: {exc}") from exc

    def __str__(self) -> str:
        return f"trackio: TRACKIO_DIR={self.folder} trackio show --project {PROJECT}"


@dataclass(slots=True)
class Stopwatch:
    """How long the steps of a round took; to be told them as they begin (`Coordinator.on_step`)."""

    seconds: dict[str, float] = field(default_factory=dict)  # of the newest round: seconds/fuse -> seconds
    _running: tuple[str, float] | None = None

    def __call__(self, step: str) -> None:
        now = time.monotonic()
        if step == STEPS[0]:
            self.seconds = {}
        elif self._running is not None:
            name, started = self._running
            self.seconds[f"seconds/{name}"] = round(now - started, 3)
        self._running = (step, now)


def open_tracker(folder: Path | None = None) -> Tracker:
    """trackio with its files in a folder of this machine: $TRACKIO_DIR, else `folder`, else this user's.

    Raises ConfigError where it is not installed.
    """
    os.environ.setdefault("TRACKIO_DIR", str((folder or state_folder() / "trackio").absolute()))
    try:
        storage = importlib.import_module("trackio.sqlite_storage")
    except ImportError as exc:
        raise ConfigError(
            f"--trackio: {exc}; install it with `pip install coldfusion[trackio]`, or leave --trackio out"
        ) from exc
    return Tracker(storage.SQLiteStorage, Path(storage.TRACKIO_DIR))
