"""SIGKILL at any moment: what was acknowledged is there, what was not is there whole or not at all."""

import random
import subprocess
import threading
from pathlib import Path

import pytest

from hub_sync.store import Store
from tests.hub_sync.served import Hub, add, in_process, noise, populate

ROUNDS = 8


def contribute(hub: Hub, repo: str, name: str, told: dict[int, tuple[str, bytes]]) -> None:
    """Open pull requests until the Hub dies; remember what it acknowledged."""
    number = 0
    while True:
        data, number = noise(20_000), number + 1
        files = [add(f"{name}/delta.safetensors", data), add(f"{name}/manifest.json", b"{}")]
        try:
            opened = hub.api(name).create_commit(
                repo, files, commit_message=f"{name} {number}", create_pr=True
            )
        except Exception:
            return
        told[int(opened.pr_num or 0)] = opened.oid, data


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_nothing_acknowledged_is_lost_and_nothing_is_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, lfs: None
) -> None:
    monkeypatch.setattr(
        "huggingface_hub.utils._http.time.sleep", lambda _: None
    )  # the Hub does not come back
    root, told = tmp_path / "store", dict[int, tuple[str, bytes]]()
    populate(root)
    with in_process(root) as (hub, server):
        repo = hub.new_repo()
        names = ("alice", "bob", "carol")
        threads = [threading.Thread(target=contribute, args=(hub, repo, name, told)) for name in names]
        for thread in threads:
            thread.start()
        threads[0].join(random.Random(seed).uniform(0.2, 1.5))
        server.kill()
        server.wait()
        for thread in threads:
            thread.join()
    with in_process(root) as (hub, _):
        refs = hub.api().list_repo_refs(repo, include_pull_requests=True).pull_requests or []
        heads = {int(ref.name.removeprefix("refs/pr/")): ref.target_commit for ref in refs}
        discussions = {d.num: d.status for d in hub.api().get_repo_discussions(repo)}
        assert set(told) <= set(discussions) <= set(heads) and set(discussions.values()) <= {"open"}
        assert {number: heads[number] for number in told} == {n: oid for n, (oid, _) in told.items()}
        for number in discussions:  # acknowledged or not: readable to the last byte
            (name,) = {p.split("/")[0] for p in hub.api().list_repo_files(repo, revision=heads[number])} - {
                ".gitattributes"
            }
            content = hub.read(repo, f"{name}/delta.safetensors", heads[number])
            assert len(content) == 20_000 and content == told.get(number, ("", content))[1]
        hub.api("bob").create_commit(repo, [add("after", b"x")], commit_message="m", create_pr=True)
    git = ["git", "--git-dir", str(root / "repos" / f"{repo}.git")]
    subprocess.run([*git, "fsck", "--strict"], check=True, capture_output=True)
    Store(root).sweep()
