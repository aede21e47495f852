"""A run's directory. Everything that a run makes is in it, and so is everything that it needs to go on.

config.yaml     what was asked for                 store/     the Hub: bases, contributions, records
pretrained/     what the run starts from           base/      the newest base, as a checkpoint
scores/         what each base got right           work/      the coordinator's scratch
timeline.jsonl  where the time went                report.html
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coldfusion.config import dump, load
from coldfusion.errors import ColdFusionError, ConfigError, writing
from coldfusion.hub import Hub, materialise
from contributors.models import prepare_base
from experiments.config import SimulationConfig
from hub_sync.rooms import alone_in


@contextmanager
def run_directory(config: SimulationConfig) -> Iterator[Path]:
    """The directory of a run, for one process at a time, with config and pretrained model in it.

    Raises ConfigError where another process is at work, or where the run was begun with a config that
    gives other bytes. A directory that was made for nothing is taken away again.
    """
    room = Path(config.run)
    is_new = not room.exists()
    with alone_in(room, ConfigError(f"run={room}: another process is at work there")):
        try:
            _prepare(config, room)
            yield room
        except ColdFusionError:
            if is_new and not (room / "store").exists():
                shutil.rmtree(room, ignore_errors=True)
            raise


def keep_base(hub: Hub, room: Path) -> None:
    """Lay the newest base out as an ordinary checkpoint, which its owner may change without harm."""
    target, fresh = room / "base", room / "base.partial"
    with writing(target):
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        materialise(hub, hub.head(), fresh, copy=True)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)


def _prepare(config: SimulationConfig, room: Path) -> None:
    place = room / "config.yaml"
    if place.exists() and load(SimulationConfig, place).same_bytes() != config.same_bytes():
        raise ConfigError(f"run={room}: begun with another config ({place}); give this one its own run=DIR")
    target, fresh = room / "pretrained", room / "pretrained.partial"
    with writing(room):
        if not target.exists():
            shutil.rmtree(fresh, ignore_errors=True)
            prepare_base(config.base, fresh)
            fresh.rename(target)
        place.write_text(dump(config), encoding="utf-8")
