"""A Hub to test with: `coldfusion serve` as a process of its own, or the same application in a thread."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.utils import httpx

from hub_sync.people import Org, People, Person
from hub_sync.server.app import App
from hub_sync.server.fastlane import Protocol
from hub_sync.server.service import Service, Settings
from hub_sync.store import Store

TOKENS = {name: f"hf_token_of_{name}_0123456789" for name in ("alice", "bob", "carol", "dave", "root")}
"""alice and dave write for the org lab, bob for himself, carol may only read, root is an admin."""

LAB = Org(name="lab", fullname="The Lab", private_repos=False)
ROLES = {"alice": "write", "bob": "write", "carol": "read", "dave": "write", "root": "admin"}


@dataclass(frozen=True)
class Hub:
    """A running Hub."""

    endpoint: str
    root: Path

    def api(self, name: str = "alice") -> HfApi:
        return HfApi(endpoint=self.endpoint, token=TOKENS[name])

    def http(self, name: str | None = None) -> httpx.Client:
        """To say what the client would not."""
        headers = {"Authorization": f"Bearer {TOKENS[name]}"} if name else {}
        return httpx.Client(base_url=self.endpoint, headers=headers, timeout=60)

    def read(self, repo: str, path: str, revision: str = "main") -> bytes:
        """What is in a file, as the client downloads it."""
        return Path(self.api().hf_hub_download(repo, path, revision=revision)).read_bytes()

    def new_repo(self, owner: str = "alice", **options: bool) -> str:
        """An id that no other test has."""
        return self.api(owner).create_repo(f"r{uuid.uuid4().hex[:10]}", **options).repo_id


def populate(root: Path) -> Store:
    """A store with people."""
    store = Store(root)
    for name, token in TOKENS.items():
        orgs = (LAB,) if name in ("alice", "dave") else ()
        People(store.database).add(Person(name=name, fullname="", role=ROLES[name], orgs=orgs), token)
    return store


@contextmanager
def in_process(root: Path, *options: str) -> Iterator[tuple[Hub, subprocess.Popen[str]]]:
    """`coldfusion serve` as users start it."""
    command = [sys.executable, "-m", "coldfusion.cli", "serve", str(root), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            line = server.stdout.readline()
            yield Hub(line.split("HF_ENDPOINT=")[1].split(")")[0], root), server
        finally:
            server.kill()


@contextmanager
def in_thread(root: Path, **settings: int) -> Iterator[Hub]:
    """The same application, started in no time."""
    app = App(Service(populate(root), Settings(**settings)))
    config = uvicorn.Config(app, http=Protocol, port=0, lifespan="off", log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Hub(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", root)
    server.should_exit = True
    thread.join()


def add(path: str, data: bytes) -> CommitOperationAdd:
    return CommitOperationAdd(path_in_repo=path, path_or_fileobj=data)


def noise(size: int) -> bytes:
    """What no other test has uploaded."""
    return os.urandom(size)


def wait_until(condition: Callable[[], bool]) -> None:
    """Soon."""
    end = time.time() + 10
    while not condition():
        assert time.time() < end
        time.sleep(0.01)
