"""Finished contributions that wait until the Hub takes them. They survive a kill and an outage.

One folder per contribution. Its manifest is written last, so that one that is there is whole; the file
`agreed` says that its owner saw what would leave and said yes, `origin` what it was made from: a command
with other data must not submit it; `checked` what its data was checked against. None of these leaves.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from coldfusion.admission import contribution_paths
from coldfusion.errors import ManifestError, writing
from coldfusion.jsonrecords import from_json
from coldfusion.records import DELTA, MANIFEST, Manifest, Revision
from hub_sync.rooms import short_digest

ORIGIN, AGREED, CHECKED = "origin", "agreed", "checked"


@dataclass(frozen=True, slots=True)
class Parcel:
    """A finished contribution on this machine's disk."""

    folder: Path
    manifest: Manifest

    @property
    def files(self) -> Mapping[str, Path]:
        """Path on the Hub -> file here: all that would leave."""
        here = (self.folder / DELTA, self.folder / MANIFEST)
        return dict(zip(contribution_paths(self.manifest.contributor), here, strict=True))

    @property
    def checked(self) -> str:
        """What its data was checked against before it was made, and what was found."""
        return (self.folder / CHECKED).read_text(encoding="utf-8")

    @property
    def is_agreed(self) -> bool:
        return (self.folder / AGREED).exists()

    def agree(self) -> None:
        """Note that its owner wants it to leave."""
        with writing(self.folder):
            (self.folder / AGREED).touch()


class Outbox:
    """The parcels of one contributor for one federation."""

    def __init__(self, root: Path, *, address: str, contributor: str) -> None:
        self.folder = root / short_digest(address, contributor)

    def put(self, source: Path, manifest: Manifest, *, origin: str, checked: str = "") -> Parcel:
        """Move delta and manifest of a finished contribution in here. One is kept: the newest.

        origin: names what it was made from (data and settings). checked: see `Parcel`. Both stay here.
        """
        with writing(self.folder), ExitStack() as undo:
            self.clear()
            undo.callback(self.clear)  # a full disk: leave the little room that there is
            self.folder.mkdir(parents=True)
            shutil.move(source / DELTA, self.folder / DELTA)
            (self.folder / ORIGIN).write_text(origin, encoding="utf-8")
            (self.folder / CHECKED).write_text(checked, encoding="utf-8")
            shutil.copyfile(source / MANIFEST, self.folder / f"{MANIFEST}.partial")
            (self.folder / f"{MANIFEST}.partial").replace(self.folder / MANIFEST)
            undo.pop_all()
        return Parcel(self.folder, manifest)

    def parcel(self, *, base: Revision, origin: str) -> Parcel | None:
        """The finished contribution that was computed from `base` and `origin`, if there is one."""
        try:
            made_from = (self.folder / ORIGIN).read_text(encoding="utf-8")
            data = (self.folder / MANIFEST).read_bytes()
            manifest = from_json(Manifest, data, source=str(self.folder / MANIFEST))
        except (FileNotFoundError, ManifestError):  # none, or its writing was cut off: it is made again
            return None
        return Parcel(self.folder, manifest) if (manifest.base, made_from) == (base, origin) else None

    def clear(self) -> None:
        """What was in here is on the Hub, or is not wanted any more."""
        shutil.rmtree(self.folder, ignore_errors=True)
