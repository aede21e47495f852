"""A Hub of our own as a process, with people on it: what the tests of the client and the commands talk to."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hub_sync.people import People, Person
from hub_sync.store import Store

PEOPLE = ("lab", "alice", "bob", "carol", "mallory")


def token_of(account: str) -> str:
    return f"hf_{account}_0123456789abcdef"


@dataclass
class Served:
    """A running `coldfusion serve`. `folder` is the local store that it serves."""

    folder: Path
    process: subprocess.Popen[str]
    url: str

    def environment(self, account: str | None, home: Path, **more: str) -> dict[str, str]:
        """Of a process that acts as `account`, with everything it keeps below `home`."""
        token = {} if account is None else {"HF_TOKEN": token_of(account)}
        inherited = {n: v for n, v in os.environ.items() if not n.startswith(("HF_", "XDG_"))}
        homes = {"HF_HOME": str(home / "hf"), "XDG_STATE_HOME": str(home / "state")}
        return {**inherited, "HF_ENDPOINT": self.url, **homes, **token, **more}

    def stop(self, *, how: signal.Signals = signal.SIGTERM) -> None:
        """By default as an operator would; SIGKILL is a power cut."""
        self.process.send_signal(how)
        self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()


def cli(*arguments: str) -> list[str]:
    """The command line of `coldfusion ...` in this environment."""
    return [str(Path(sys.executable).with_name("coldfusion")), *arguments]


def add_people(folder: Path, people: Sequence[str] = PEOPLE) -> None:
    """Make a store with these accounts, as `coldfusion users add` does."""
    accounts = People(Store(folder).database)
    for name in people:
        role = "read" if name == "mallory" else "write"
        accounts.add(Person(name=name, fullname="", role=role, orgs=()), token_of(name))


def start(folder: Path, *, port: int = 0, options: Sequence[str] = ()) -> Served:
    """Serve a store. Port 0 is any free one."""
    command = cli("serve", str(folder), "--port", str(port), *options)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://[\d.]+:\d+", line)
    assert found, line
    return Served(folder, process, found[0])
