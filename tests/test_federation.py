"""A whole federation through real processes, each with a home of its own, over a served Hub and real HTTP.

It ends with the bytes of the same federation on a local store in one process: undisturbed, through a proxy
that disturbs 30 % of all calls, and with contributors, coordinator and server killed at random moments.
"""

from __future__ import annotations

import base64
import hashlib
import os
import random
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from coldfusion.config import Policy
from coldfusion.coordinator import Coordinator
from coldfusion.errors import NotOnHub
from coldfusion.federation import Start, found, read_records
from coldfusion.hub import Hub
from coldfusion.layout import tag_name
from coldfusion.records import Evaluation
from contributors.config import JoinConfig, TrainingConfig
from contributors.devices import limit_threads
from contributors.joining import Joiner
from contributors.reporting import unheard
from hub_sync.huggingface import HuggingFaceHub
from hub_sync.local import LocalHub
from hub_sync.outbox import Outbox
from tests.chaos import ChaosProxy
from tests.helpers import contribute, finetuned
from tests.served import Served, add_people, cli, start, token_of
from tests.tasks import write_csv, write_tasks

NAMES = ("alice", "bob", "carol")
TRAINING = TrainingConfig(lr=3e-3, epochs=1, batch_size=8, max_length=16, bf16=False)
SETTINGS = ["training.lr=3e-3", "training.epochs=1", "training.batch_size=8", "training.max_length=16"]
SETTINGS += ["training.bf16=false", "threads=1", "poll=0.5"]
ROUNDS = 3


def bases(hub: Hub) -> list[str]:
    """sha256 of the weights of every round's base."""
    revisions = [hub.resolve(tag_name(index)) for index in range(ROUNDS + 1)]
    weights = (hub.fetch("model.safetensors", at=revision).read_bytes() for revision in revisions)
    return [hashlib.sha256(data).hexdigest() for data in weights]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"), NAMES)


@pytest.fixture(scope="module")
def wanted(tiny_base: Path, tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The bases of the same federation on a local store, one step after another in this process."""
    room = tmp_path_factory.mktemp("alone")
    limit_threads(1)
    hub = LocalHub(room / "store", author="lab")
    found(
        hub, Start(tiny_base), Policy(quorum=3), evaluate=lambda *_: Evaluation(), workdir=room / "founding"
    )
    for _ in range(ROUNDS):
        for name in NAMES:
            Joiner(
                hub=LocalHub(hub.root, author=name),
                contributor=name,
                data=str(tasks / name / "train.csv"),
                config=JoinConfig(training=TRAINING),
                outbox=Outbox(room / "outbox", address=hub.address, contributor=name),
                consent=lambda text: True,
                say=lambda line: None,
                report=unheard,
            ).contribute()
        Coordinator(hub=hub, workdir=room / "work", evaluate=lambda *_: Evaluation()).run_round()
    return bases(hub)


@dataclass
class Parties:
    """The processes of a federation. Whoever has died is started again by `tend`."""

    hub: Served
    url: str  # what the parties take for the Hub: the Hub itself, or a proxy before it
    room: Path
    tasks: Path
    extra: Sequence[str] = ()
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def command(self, name: str) -> list[str]:
        if name == "lab":
            return cli("coordinate", "lab/fed", "--watch", "poll=0.5", *self.extra)
        data = str(self.tasks / name / "train.csv")
        return cli("join", "lab/fed", "--data", data, "--watch", "--yes", *SETTINGS, *self.extra)

    def tend(self) -> None:
        for name in (*NAMES, "lab"):
            process = self.running.get(name)
            if process is None or process.poll() is not None:
                log = (self.room / f"{name}.log").open("ab")
                environment = self.hub.environment(name, self.room / name, HF_ENDPOINT=self.url)
                self.running[name] = subprocess.Popen(
                    self.command(name), env=environment, stdout=log, stderr=log, cwd=self.room
                )
                log.close()

    def stop(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()

    def logs(self) -> str:
        return "\n".join(f"{p.name}: {p.read_text()[-1500:]}" for p in self.room.glob("*.log"))


@pytest.fixture
def hub(tmp_path: Path, tiny_base: Path) -> Iterator[Served]:
    """A server of this test's own, with a federation on it that waits for three contributions."""
    add_people(tmp_path / "store")
    served = start(tmp_path / "store")
    init = cli("init", "lab/fed", "--base", str(tiny_base), "quorum=3")
    environment = served.environment("lab", tmp_path / "founder")
    done = subprocess.run(init, env=environment, check=True, capture_output=True)
    assert done.stderr == b""  # no library puts in a word of its own
    yield served
    served.stop(how=signal.SIGKILL)


@pytest.fixture
def repo(served: Served, tiny_base: Path, tmp_path: Path) -> str:
    """A federation of this test's own, on the server of all tests."""
    hub = LocalHub(served.folder, repo_id=f"lab/{uuid.uuid4().hex[:12]}", author="lab")
    found(
        hub,
        Start(tiny_base),
        Policy(quorum=3),
        evaluate=lambda *_: Evaluation(),
        workdir=tmp_path / "founding",
    )
    return hub.repo_id


def run_to_the_end(parties: Parties, seconds: float, disturb: object = None) -> LocalHub:
    """Tend the parties until the last round is published; the store behind the server, opened directly."""
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            parties.tend()
            store = LocalHub(parties.hub.folder, repo_id="lab/fed")
            try:
                store.resolve(tag_name(ROUNDS))
                return store
            except NotOnHub:
                time.sleep(0.5)
            if callable(disturb):
                disturb()
        pytest.fail(parties.logs())
    finally:
        parties.stop()


def check(store: LocalHub, wanted: list[str]) -> None:
    """The bytes are right, everybody is in every round exactly once, and nothing was opened twice."""
    assert bases(store) == wanted
    for record in read_records(store)[1 : ROUNDS + 1]:
        assert [(e.contributor, e.accepted) for e in record.entries] == [(name, True) for name in NAMES]
    titles = [pull.title for pull in store.discussions.all(store.repo_id)]
    assert len(titles) == len(set(titles))


def test_processes_over_http_end_with_the_bytes_of_one_process(
    hub: Served, tasks: Path, wanted: list[str], tmp_path: Path
) -> None:
    parties = Parties(hub, hub.url, tmp_path, tasks)
    check(run_to_the_end(parties, 240), wanted)


@pytest.mark.slow
def test_a_bad_day_of_the_service_changes_nothing(
    hub: Served, tasks: Path, wanted: list[str], tmp_path: Path
) -> None:
    proxy = ChaosProxy(hub.url, rate=0.3, seed=0)
    parties = Parties(hub, proxy.url, tmp_path, tasks, extra=["timeout=2"])
    check(run_to_the_end(parties, 1500), wanted)
    assert all(proxy.faults[fault] > 5 for fault in ("429", "500", "503", "reset", "lost", "truncated"))
    proxy.close()


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(
    hub: Served, tasks: Path, wanted: list[str], tmp_path: Path
) -> None:
    rng, kills = random.Random(0), []
    parties = Parties(hub, hub.url, tmp_path, tasks, extra=["timeout=5"])

    def kill_somebody() -> None:
        time.sleep(rng.uniform(0, 6))
        victim = rng.choice([*NAMES, "lab", "server"])
        kills.append(victim)
        if victim == "server":
            hub.stop(how=signal.SIGKILL)
            port = int(hub.url.rsplit(":", 1)[1])
            hub.process = start(hub.folder, port=port).process
        else:
            parties.running[victim].kill()

    check(run_to_the_end(parties, 1500, kill_somebody), wanted)
    assert {"lab", "server"} <= set(kills)


def contribute_all(store: LocalHub, room: Path, *, seed: int, names: Sequence[str] = NAMES) -> None:
    """Open a pull request of everybody for the open round, straight into the store, with made-up training."""
    tensors = load_file(store.fetch("model.safetensors", at=store.head()))
    body = {name: tensor for name, tensor in tensors.items() if tensor.dtype == np.float32}
    for i, name in enumerate(names):
        contribute(store, room / f"{seed}", finetuned(body, 1000 * seed + i), name=name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a process a host name of its own")
# LFS sends the delta as it is; Xet, which may compress it, is searched too, but not each time.
@pytest.mark.parametrize("transport", ["lfs", pytest.param("xet", marks=pytest.mark.slow)])
def test_nothing_of_a_contributor_is_in_the_traffic_but_the_contribution(
    served: Served, repo: str, tmp_path: Path, transport: str
) -> None:
    """Every byte that a whole `join` sends, searched as it is and decoded."""
    rows = [(f"text{i} zanzibar marmalade", ("labelquince", "labelmedlar")[i % 2]) for i in range(40)]
    data = write_csv(tmp_path / "folder-of-secrets" / "file-of-secrets.csv", ["text", "label"], rows)
    recorder = ChaosProxy(served.url, rate=0.0, seed=0)
    environment = served.environment("alice", tmp_path / "home-of-secrets", HF_ENDPOINT=recorder.url)
    environment |= {"HF_HUB_DISABLE_XET": "1"} if transport == "lfs" else {}
    join = cli("join", repo, "--data", data, "--yes", *SETTINGS)
    named = 'hostname host-of-secrets && exec "$@"'  # "vm" would be in any megabyte
    done = subprocess.run(
        ["unshare", "--uts", "sh", "-c", named, "sh", *join], env=environment, check=True, capture_output=True
    )
    assert done.stderr == b""  # no library puts in a word of its own
    recorder.close()
    sent = b"\n".join(head.encode() + b"\n" + body for head, body in recorder.seen)
    sent += b"".join(
        base64.b64decode(text) for text in re.findall(rb'"(?:content|sample)": ?"([^"]+)"', sent)
    )
    assert b'"num_examples": 40' in sent  # the manifest went by, and was decoded
    assert transport == "xet" or b'"data_offsets"' in sent  # and so did the delta
    for secret in ("zanzibar", "marmalade", "quince", "medlar", "secrets", str(tmp_path), str(Path.home())):
        assert secret.encode() not in sent, secret


@pytest.mark.slow
def test_of_two_coordinators_started_together_one_wins_twenty_times(hub: Served, tmp_path: Path) -> None:
    """Never two bases for one round, never a lost commit."""
    store = LocalHub(hub.folder, repo_id="lab/fed")
    outcomes: list[tuple[str, int]] = []
    for index in range(1, 21):
        contribute_all(store, tmp_path, seed=index)
        two = [
            subprocess.Popen(
                cli("coordinate", "lab/fed", f"workdir={tmp_path}/{side}"),
                env=hub.environment("lab", tmp_path / side),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for side in ("left", "right")
        ]
        outcomes += [(process.communicate()[0], process.returncode) for process in two]
    records = read_records(store)
    assert [record.round_index for record in records] == list(range(21))
    for record in records[1:]:
        assert record.num_accepted == 3
        assert record.parent == store.resolve(tag_name(record.round_index - 1))
    for text, code in outcomes:  # won, came too late to do anything, or was beaten and says so
        assert code == 0 or (code == 2 and "this coordinator stops" in text), text
    assert sum("is published" in text for text, _ in outcomes) == 20


@pytest.mark.slow
def test_a_thousand_pull_requests_cost_few_calls_and_stay_within_the_free_tier(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    add_people(tmp_path / "store")
    hub = start(tmp_path / "store", options=["--rate-limit", "1000"])
    environment = hub.environment("lab", tmp_path / "lab")
    init = cli("init", "lab/fed", "--base", str(tiny_base), "quorum=1000")
    subprocess.run(init, env=environment, check=True, capture_output=True)
    store = LocalHub(hub.folder, repo_id="lab/fed")
    contribute_all(store, tmp_path, seed=1, names=[f"contributor-{i:04}" for i in range(1000)])
    client = HuggingFaceHub("lab/fed", endpoint=hub.url, token=token_of("lab"))
    assert len(client.proposals()) == 1000 and client.pacer.total <= 25
    done = subprocess.run(
        cli("coordinate", "lab/fed", f"workdir={tmp_path}/w"), env=environment, capture_output=True, text=True
    )
    assert "round 1 is published: 1000 fused, 0 refused" in done.stdout, done.stdout + done.stderr
    assert re.search(r"[\d,]+ calls to the Hub so far", done.stdout)
    contribute_all(store, tmp_path, seed=2, names=["late"])
    before = client.pacer.total
    assert len(client.proposals()) == 1 and client.pacer.total - before == 2  # whatever was settled before
    hub.stop(how=signal.SIGKILL)
