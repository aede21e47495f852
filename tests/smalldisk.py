"""A disk that is soon full."""

from __future__ import annotations

import subprocess
from pathlib import Path


class SmallDisk:
    """A file system of its own, in memory, at a folder that is there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mount(self) -> None:
        self.path.mkdir()
        self.resize(200)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)

    def resize(self, kilobytes: int, *options: str) -> None:
        settings = ",".join([*options, f"size={kilobytes}k"])
        command = ["mount", "-t", "tmpfs", "-o", settings, "tmpfs", str(self.path)]
        subprocess.run(command, check=True, capture_output=True)
