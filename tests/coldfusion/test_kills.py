"""A coordinator that is killed anywhere and started again ends with the same round and the same bytes.

A script makes one federation with an open round, copies it for every place to be killed at, and forks a
coordinator there that is shot by SIGKILL, then one that is left alone. Where the outer optimiser has a state,
the open round is the second one: it goes on from a state, and takes it away when it publishes its own.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from coldfusion.coordinator import STEPS

SCRIPT = r"""
import hashlib, json, os, shutil, signal, sys
from pathlib import Path
from coldfusion.config import Policy
from coldfusion.coordinator import Coordinator
from coldfusion.layout import outer_path, record_path, tag_name
from coldfusion.records import Evaluation
from hub_sync.local import LocalHub
from tests.helpers import contribute, finetuned, new_federation, small_body

room, outer = Path(sys.argv[1]), sys.argv[4]
is_stateful = outer != "sgd"
index = 1 + is_stateful  # of the round that is interrupted
FILE_EVENTS = {"open", "os.rename", "os.remove", "os.link", "os.mkdir", "os.chmod", "os.truncate"}

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def coordinator(store, on_step=lambda step: None):
    work = store.parent / "work"
    return Coordinator(hub=LocalHub(store), workdir=work, evaluate=lambda *_: Evaluation(), on_step=on_step)

def coordinate(store, on_step=lambda step: None):
    coordinator(store, on_step).run_round()

def forked(work):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]

def killed_at_step(step):
    return lambda store: coordinate(store, lambda now: die() if now == step else None)

def killed_at_event(number):
    def work(store):
        seen = [0]
        def hook(event, _):
            if event in FILE_EVENTS or event.startswith("sqlite3"):
                seen[0] += 1
                if seen[0] == number:
                    die()
        sys.addaudithook(hook)
        coordinate(store)
        (store.parent / "events").write_text(str(seen[0]))
    return work

def outcome(store):
    hub = LocalHub(store)
    files = {p.path: hub.fetch(p.path, at=hub.head()) for p in hub.paths(at=hub.head())}
    states = [path for path in files if path.endswith("outer.safetensors")]
    return {
        "files": {path: hashlib.sha256(file.read_bytes()).hexdigest() for path, file in files.items()},
        "comments": [hub.discussions.comments(hub.repo_id, n) for n in numbers],
        "open": len(hub.proposals()),
        "tagged": hub.resolve(tag_name(index)) == hub.head(),
        "states": states == [outer_path(index)] * is_stateful,
    }

template = room / "template" / "store"
hub = LocalHub(template)
new_federation(hub, room, small_body(), Policy(outer=outer, outer_lr=0.01))
if is_stateful:
    contribute(hub, room / "before", finetuned(small_body(), 7), name="alice")
    coordinate(template)
for seed, name in enumerate(["carol", "alice", "bob"]):
    contribute(hub, room, finetuned(small_body(), seed), name=name)
numbers = [proposal.number for proposal in hub.proposals()]

def run(name, interrupted):
    store = room / name / "store"
    shutil.copytree(template, store)
    status = forked(lambda: interrupted(store))
    for _ in range(2):  # once to finish the round, once to find nothing left to do
        if record_path(index) not in outcome_paths(store) or LocalHub(store).proposals():
            assert forked(lambda: coordinate_if_open(store)) == 0, name
    shutil.rmtree(store.parent / "work", ignore_errors=True)
    return status, outcome(store)

def outcome_paths(store):
    hub = LocalHub(store)
    return {p.path for p in hub.paths(at=hub.head())}

def coordinate_if_open(store):
    if coordinator(store).finish().record.round_index < index:
        coordinator(store).run_round()

status, undisturbed = run("undisturbed", lambda store: killed_at_event(-1)(store))
assert status == 0
events = int((room / "undisturbed" / "events").read_text())
places = {f"step {step}": killed_at_step(step) for step in json.loads(sys.argv[2])}
stride = int(sys.argv[3])
places |= {f"event {n}": killed_at_event(n) for n in range(1, events + 1, stride)} if stride else {}
wrong = {}
for name, interrupted in places.items():
    status, found = run(name.replace(" ", "-"), interrupted)
    if status != 9 or found != undisturbed:
        wrong[name] = [status, found]
    shutil.rmtree(room / name.replace(" ", "-"))
print(json.dumps({"places": len(places), "wrong": wrong, "undisturbed": undisturbed}))
"""


def kill_at(room: Path, steps: tuple[str, ...], *, stride: int, outer: str = "sgd") -> dict[str, object]:
    root = str(Path(__file__).parents[2])
    arguments = [sys.executable, "-c", SCRIPT, str(room), json.dumps(steps), str(stride), outer]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("outer", ["sgd", "adam"])
def test_killed_at_every_boundary_between_steps(tmp_path: Path, outer: str) -> None:
    found = kill_at(tmp_path, STEPS, stride=0, outer=outer)
    assert found["places"] == len(STEPS) and found["wrong"] == {}
    assert found["undisturbed"]["open"] == 0 and found["undisturbed"]["tagged"]  # type: ignore[index]
    assert found["undisturbed"]["states"]  # type: ignore[index]


@pytest.mark.parametrize("outer", ["sgd", "adam"])
def test_killed_in_the_middle_of_a_step(tmp_path: Path, outer: str) -> None:
    """Shot just before every tenth operation on a file or on the database."""
    found = kill_at(tmp_path, (), stride=10, outer=outer)
    assert found["places"] >= 20 and found["wrong"] == {}  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.parametrize("outer", ["sgd", "adam"])
def test_killed_before_every_single_operation(tmp_path: Path, outer: str) -> None:
    found = kill_at(tmp_path, (), stride=1, outer=outer)
    assert found["places"] >= 200 and found["wrong"] == {}  # type: ignore[operator]
