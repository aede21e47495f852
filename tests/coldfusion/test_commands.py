"""init, join, coordinate and status as a user types them, on a local store and over HTTP."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from coldfusion.config import Policy
from coldfusion.federation import parse_policy, read_state
from coldfusion.liveview import LiveView
from coldfusion.overview import read_overview
from hub_sync.local import LocalHub
from tests.served import Served, cli, token_of
from tests.smalldisk import SmallDisk
from tests.tasks import write_csv, write_task

QUICK = [
    "training.lr=3e-3",
    "training.epochs=1",
    "training.batch_size=8",
    "training.max_length=16",
    "threads=1",
]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def store(command: Command, tiny_base: Path, tmp_path: Path) -> str:
    """The path of a local store with a federation that waits for two contributions."""
    repo = str(tmp_path / "store")
    assert command("init", repo, "--base", str(tiny_base), "quorum=2")[0] == 0
    return repo


@pytest.fixture
def data(tmp_path: Path) -> str:
    return str(write_task(tmp_path / "task", seed=0) / "train.csv")


def join(command: Command, repo: str, data: str, name: str, *more: str) -> tuple[int, str, str]:
    outbox = f"outbox={Path(repo).parent / 'outbox'}"
    return command("join", repo, "--data", data, f"name={name}", outbox, *QUICK, *more)


def test_init_publishes_checkpoint_policy_and_card(store: str) -> None:
    hub = LocalHub(Path(store))
    paths = {info.path for info in hub.paths(at=hub.head())}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md", "federation.yaml"} <= paths
    policy = hub.fetch("federation.yaml", at=hub.head()).read_text()
    assert parse_policy(policy) == Policy(quorum=2).spelt_out()
    assert "# accepted contributions at which a round is fused\nquorum: 2\n" in policy
    assert hub.resolve("round-0000") == hub.head()


def test_init_says_every_option_of_the_fuser_and_the_outer_optimiser(
    command: Command, tiny_base: Path, tmp_path: Path
) -> None:
    repo, knobs = str(tmp_path / "other"), ["fuser=task_arithmetic", "fuser_options.scale=0.5"]
    base = ("--base", str(tiny_base), "--base-name", "org/model")
    assert command("init", repo, *base, *knobs, "outer=nesterov")[0] == 0
    hub = LocalHub(Path(repo))
    assert "\nbase_model: org/model\n" in hub.fetch("README.md", at=hub.head()).read_text()
    policy = hub.fetch("federation.yaml", at=hub.head()).read_text()
    assert "fuser_options:\n  scale: 0.5\n  normalize: false\n" in policy
    assert "outer_lr: 0.7\n" in policy and "outer_options:\n  momentum: 0.9\n" in policy
    code, _, err = command("init", str(tmp_path / "no"), "--base", str(tiny_base), "outer=adam")
    assert code == 2 and "adam has no outer_lr of its own" in err and err.count("\n") == 1


def test_a_base_is_called_by_a_name_that_the_hub_can_have(
    command: Command, tiny_base: Path, tmp_path: Path
) -> None:
    base = ("--base", str(tiny_base), "--base-name", "../model")
    code, _, err = command("init", str(tmp_path / "no"), *base)
    assert code == 2 and "'../model' is not the name of a model on the Hub; that is org/name" in err


def test_a_federation_is_founded_once(command: Command, store: str, tiny_base: Path) -> None:
    code, _, err = command("init", store, "--base", str(tiny_base))
    assert code == 2 and "is a federation already" in err and err.count("\n") == 1


def test_a_round_from_two_contributors_to_its_status(
    command: Command, store: str, data: str, tmp_path: Path
) -> None:
    for name in ("alice", "bob"):
        code, out, _ = join(command, store, data, name, "--yes")
        assert code == 0 and f"contributions/{name}/delta.safetensors" in out and "pull request #" in out
        if name == "alice":
            assert "waits for 1 more" in command("coordinate", store, f"workdir={tmp_path}/w")[1]
    code, out, _ = command("coordinate", store, f"workdir={tmp_path}/w")
    assert code == 0 and "round 1 is published: 2 fused, 0 refused" in out
    code, out, _ = command("status", store)
    assert code == 0 and "base of round-0001" in out and "bob" in out and "fused, weight 1" in out
    assert "round 2: 0 of 2 contributions are there; it waits for 2 more" in out


def test_status_as_a_page_and_as_a_watch(
    command: Command, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.html"
    assert command("status", store, "--html", str(page)) == (0, f"report: {page}\n", "")
    assert "Round 1: 0 of 2 contributions are there" in page.read_text()
    page.unlink()

    def interrupted(view: LiveView) -> None:
        view.on_change(read_overview(view.hub))
        raise KeyboardInterrupt

    monkeypatch.setattr(LiveView, "run", interrupted)
    assert command("status", store, "--watch", "--html", str(page)) == (0, "", "") and page.exists()
    code, _, err = command("status", store, "--watch", "--every", "0")
    assert code == 2 and err == "coldfusion: --every 0.0 is not above 0\n"


def test_held_out_tasks_score_every_base(command: Command, store: str, data: str, tmp_path: Path) -> None:
    write_task(tmp_path / "tasks" / "pears", seed=9)
    for name in ("alice", "bob"):
        join(command, store, data, name, "--yes")
    settings = (
        f"tasks={tmp_path}/tasks",
        "pool.backend=serial",
        "probe.max_length=16",
        f"workdir={tmp_path}/w",
    )
    code, out, _ = command("coordinate", store, *settings)
    assert code == 0 and "held-out probe gain" in out
    assert "held-out tasks: 1, texts: 60; contributors check theirs" in out
    assert "probe, held-out" in command("status", store)[1]


def test_a_held_out_task_is_not_contributed_to(command: Command, store: str, tmp_path: Path) -> None:
    task = write_task(tmp_path / "tasks" / "pears", seed=9)
    settings = (f"tasks={task.parent}", "pool.backend=serial", f"workdir={tmp_path}/w")
    assert command("coordinate", store, *settings, "publish_hashes=false")[0] == 0
    hub = LocalHub(Path(store))
    assert hub.head() == hub.resolve("round-0000")
    for _ in range(2):  # the second time there is nothing to say
        assert command("coordinate", store, *settings)[0] == 0
    assert hub.head() != hub.resolve("round-0000") == read_state(hub).base
    code, _, err = join(command, store, f"{task}/train.csv", "alice", "--yes")
    assert code == 2 and "this federation holds out a task of that name" in err and err.count("\n") == 1
    copy = shutil.copy(task / "test.csv", tmp_path / "apples.csv")
    code, _, err = join(command, store, copy, "alice", "--yes")
    assert code == 2 and "20 of 20 texts are held-out texts or nearly so" in err and err.count("\n") == 1
    assert hub.proposals() == []


def test_a_suite_says_how_bases_are_scored_and_the_gate_what_it_saw(
    command: Command, store: str, data: str, tmp_path: Path
) -> None:
    write_task(tmp_path / "pears", seed=9)
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "tasks: [{name: pears, train: pears/train.csv, test: pears/test.csv, metrics: [macro_f1]}]\n"
        "protocols: [probe, few-shot]\n"
        "probe: {max_length: 16}\n"
        "few_shot: {epochs: 1, batch_size: 8, max_length: 16, max_examples: 8}\n"
    )
    for name in ("alice", "bob"):
        join(command, store, data, name, "--yes")
    settings = (f"tasks={suite}", "pool.backend=serial", f"workdir={tmp_path}/w")
    assert command("coordinate", store, *settings)[0] == 0
    said = " ".join(command("status", store)[1].split())
    assert "gate: everybody:" in said and "on the base before" in said
    scores = read_state(LocalHub(Path(store))).record.evaluation.scores
    assert [(s.protocol, s.metric, s.num_examples) for s in scores] == [
        ("probe", "macro_f1", 20),
        ("few-shot", "macro_f1", 20),
    ]


def test_a_no_is_a_no(command: Command, store: str, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typer.confirm", lambda question: False)
    code, out, _ = join(command, store, data, "alice")
    assert code == 0 and "nothing left this machine" in out
    assert LocalHub(Path(store)).proposals() == []


@pytest.mark.parametrize("verb", ["join", "coordinate", "status"])
def test_a_place_without_a_store_is_one_line(command: Command, tmp_path: Path, data: str, verb: str) -> None:
    more = ("--data", data) if verb == "join" else ()
    code, _, err = command(verb, str(tmp_path / "nowhere"), *more)
    assert code == 2 and "no local store there; a repo on the Hub is called org/name" in err


def publish(store: str, name: str, text: str, room: Path) -> None:
    (room / "file").write_text(text)
    hub = LocalHub(Path(store))
    hub.commit({name: room / "file"}, message="by hand", parent=hub.head())


def test_a_federation_of_a_newer_protocol_asks_for_an_upgrade(
    command: Command, store: str, data: str, tmp_path: Path
) -> None:
    publish(store, "federation.yaml", "protocol: 2\nnew_knob: 3\n", tmp_path)
    for verb in ("status", "coordinate"):
        code, _, err = command(verb, store)
        assert (
            code == 2
            and err == "coldfusion: federation.yaml: protocol 2, this coldfusion speaks 1: upgrade it\n"
        )
    assert join(command, store, data, "alice")[0] == 2


def test_a_repo_that_is_no_federation_is_one_line(command: Command, tmp_path: Path, data: str) -> None:
    (tmp_path / "file").write_text("x")
    LocalHub(tmp_path / "other").commit({"x": tmp_path / "file"}, message="m", parent=None)
    for verb, more in (("status", ()), ("coordinate", ()), ("join", ("--data", data))):
        code, _, err = command(verb, str(tmp_path / "other"), *more)
        assert code == 2 and "not a federation: no federation.yaml" in err and err.count("\n") == 1


def test_bad_private_data_leaves_nothing(command: Command, store: str, tmp_path: Path) -> None:
    data = write_csv(tmp_path / "x.csv", ["text", "label"], [("a", 1), ("b", 1)])
    code, _, err = join(command, store, data, "alice", "--yes")
    assert code == 2 and "same label" in err and LocalHub(Path(store)).proposals() == []


def test_on_a_full_disk_nothing_is_submitted_and_with_more_room_all_is(
    command: Command, store: str, data: str, disk: SmallDisk
) -> None:
    """The contributor's disk: the last `outbox=` wins."""
    outbox = f"outbox={disk.path}/outbox"
    disk.resize(8, "remount")
    code, _, err = join(command, store, data, "alice", "--yes", outbox)
    assert code == 2 and "No space left on device" in err and err.count("\n") == 1
    assert LocalHub(Path(store)).proposals() == [] and not list(disk.path.rglob("*.safetensors"))
    disk.resize(5000, "remount")
    assert join(command, store, data, "alice", "--yes", outbox)[0] == 0
    assert len(LocalHub(Path(store)).proposals()) == 1


def test_on_a_full_disk_nothing_is_published_and_with_more_room_the_round_is(
    command: Command, store: str, data: str, disk: SmallDisk
) -> None:
    """The coordinator's disk."""
    for name in ("alice", "bob"):
        join(command, store, data, name, "--yes")
    before = LocalHub(Path(store)).head()
    disk.resize(40, "remount")
    code, _, err = command("coordinate", store, f"workdir={disk.path}/w")
    assert code == 2 and err.count("\n") == 1
    assert "No space left on device" in err or "are free there" in err
    assert LocalHub(Path(store)).head() == before and len(LocalHub(Path(store)).proposals()) == 2
    disk.resize(5000, "remount")
    assert command("coordinate", store, f"workdir={disk.path}/w")[0] == 0


def test_a_round_whose_record_is_gone_is_one_line(
    command: Command, store: str, data: str, tmp_path: Path
) -> None:
    """Somebody rewrote the history: what it would be compared with no longer exists."""
    write_task(tmp_path / "tasks" / "pears", seed=9)
    (Path(store) / "repos" / "local" / "federation.git" / "refs" / "tags" / "round-0000").unlink()
    code, _, err = command("coordinate", store, f"tasks={tmp_path}/tasks", f"workdir={tmp_path}/w")
    assert code == 2 and "round-0000" in err and err.count("\n") == 1


@pytest.mark.parametrize("key", ["nmae=alice", "training.lr=fast", "poll=0"])
def test_a_misspelt_setting_is_one_line(command: Command, store: str, data: str, key: str) -> None:
    code, _, err = command("join", store, "--data", data, key)
    assert code == 2 and key.split("=")[0].split(".")[-1] in err and err.count("\n") == 1


def test_the_base_opens_like_any_checkpoint(command: Command, store: str, tiny_base: Path) -> None:
    hub = LocalHub(Path(store))
    tensors = load_file(hub.fetch("model.safetensors", at=hub.head()))
    for name, tensor in load_file(tiny_base / "model.safetensors").items():
        assert (tensors[name] == tensor).all()


def over_http(served: Served, account: str | None, room: Path, *arguments: str) -> tuple[int, str]:
    environment = served.environment(account, room)
    done = subprocess.run(cli(*arguments), env=environment, capture_output=True, text=True, cwd=room)
    return done.returncode, done.stderr


def test_a_token_that_does_not_open_a_repo_is_one_line(served: Served, tmp_path: Path) -> None:
    code, err = over_http(served, "alice", tmp_path, "status", "lab/none")
    assert code == 2 and err.count("\n") == 1
    assert "no such repo, or it is private and this token does not open it" in err


@pytest.fixture
def online(command: Command, served: Served, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command in this process, where torch is imported already; REPO in its arguments names the Hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return lambda *arguments: command(*(a.replace("REPO", f"{served.url}/lab") for a in arguments))


def test_no_token_is_one_line(online: Command) -> None:
    code, _, err = online("join", "REPO/none", "--data", "x.csv")
    assert code == 2 and "run `hf auth login` or set HF_TOKEN" in err and err.count("\n") == 1


def test_a_token_that_may_not_write_is_one_line(
    online: Command, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", token_of("alice"))
    code, _, err = online("init", "REPO/new", "--base", str(tiny_base))
    assert code == 2 and "this token may not do that; is it read-only?" in err and err.count("\n") == 1


@pytest.mark.slow  # it is tried again for half a minute
def test_an_endpoint_that_does_not_answer_is_one_line(tmp_path: Path, served: Served) -> None:
    nowhere = dataclasses.replace(served, url="http://127.0.0.1:1")
    code, err = over_http(nowhere, "alice", tmp_path, "status", "lab/fed")
    assert (code, err) == (
        2,
        "coldfusion: http://127.0.0.1:1/lab/fed: reading main: [Errno 111] Connection refused\n",
    )
