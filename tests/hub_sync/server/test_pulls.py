"""Merging pull requests, and freeing what they held."""

import subprocess
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationDelete
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

from tests.hub_sync.served import Hub, add, noise


def blob(hub: Hub, sha256: str) -> Path:
    return hub.root / "blobs" / sha256[:2] / sha256[2:4] / sha256


def test_a_merge_brings_the_changes_and_keeps_what_main_has_done_since(hub: Hub) -> None:
    repo, api = hub.new_repo(), hub.api()
    base = api.create_commit(repo, [add("a", b"1"), add("b", b"1")], commit_message="m").oid
    operations = [add("c", b"new"), CommitOperationDelete("b")]
    hub.api("bob").create_commit(repo, operations, commit_message="mine", create_pr=True, parent_commit=base)
    api.create_commit(repo, [add("a", b"2")], commit_message="m")
    api.merge_pull_request(repo, 1, comment="thanks")
    assert api.list_repo_files(repo) == [".gitattributes", "a", "c"]
    assert hub.read(repo, "a") == b"2"
    found = api.get_discussion_details(repo, 1)
    assert (found.status, found.merge_commit_oid) == ("merged", api.repo_info(repo).sha)
    with pytest.raises(HfHubHTTPError, match="is merged"):
        api.change_discussion_status(repo, 1, "open")
    checked = ["git", "--git-dir", str(hub.root / "repos" / f"{repo}.git"), "fsck", "--strict"]
    subprocess.run(checked, check=True, capture_output=True)


def test_a_conflict_is_told_and_not_merged(hub: Hub) -> None:
    repo, api = hub.new_repo(), hub.api()
    base = api.create_commit(repo, [add("a", b"1\n")], commit_message="m").oid
    bob = hub.api("bob")
    bob.create_commit(
        repo, [add("a", b"theirs\n")], commit_message="mine", create_pr=True, parent_commit=base
    )
    api.create_commit(repo, [add("a", b"ours\n")], commit_message="m")
    found = api.get_discussion_details(repo, 1)
    assert found.conflicting_files == ["a"]
    assert found.diff == "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-1\n+theirs\n"
    with pytest.raises(HfHubHTTPError, match="conflicts in a") as error:
        api.merge_pull_request(repo, 1)
    assert error.value.response.status_code == 409


def test_deleting_the_ref_of_a_closed_pull_request_frees_what_only_it_held(hub: Hub) -> None:
    repo, api, shared, own = hub.new_repo(), hub.api(), noise(3000), noise(2000)
    api.create_commit(repo, [add("base.safetensors", shared)], commit_message="m")
    operations = [add("copy.safetensors", shared), add("delta.safetensors", own)]
    hub.api("bob").create_commit(repo, operations, commit_message="mine", create_pr=True)
    infos = api.get_paths_info(repo, ["copy.safetensors", "delta.safetensors"], revision="refs/pr/1")
    kept, freed = (info.lfs.sha256 for info in infos)
    discussion = f"/api/models/{repo}/discussions/1"
    with hub.http("alice") as http:
        assert http.get(f"{discussion}/storage").json()["usedStorage"] == 2000
        assert http.delete(f"{discussion}/ref").status_code == 400  # it is open
        api.change_discussion_status(repo, 1, "closed")
        with hub.http("bob") as bobs:
            assert bobs.delete(f"{discussion}/ref").status_code == 403
        assert blob(hub, freed).exists()
        assert http.delete(f"{discussion}/ref").status_code == 200
        assert http.delete(f"{discussion}/ref").status_code == 404
        assert http.get(f"{discussion}/storage").json()["usedStorage"] == 0
    assert blob(hub, kept).exists() and not blob(hub, freed).exists()
    with pytest.raises(RevisionNotFoundError):
        api.repo_info(repo, revision="refs/pr/1")
    with pytest.raises(HfHubHTTPError, match="ref of pull request #1 was deleted"):
        api.change_discussion_status(repo, 1, "open")
    assert api.get_discussion_details(repo, 1).status == "closed"


def test_what_another_repo_holds_stays(hub: Hub) -> None:
    one, two, data = hub.new_repo(), hub.new_repo(), noise(2000)
    for repo in (one, two):
        hub.api().create_commit(repo, [add("a.bin", data)], commit_message="m")
    (info,) = hub.api().get_paths_info(one, "a.bin")
    hub.api().delete_repo(one)
    assert blob(hub, info.lfs.sha256).exists()
    hub.api().delete_repo(two)
    assert not blob(hub, info.lfs.sha256).exists()


def test_a_contribution_can_be_sent_again_after_its_storage_was_freed(hub: Hub) -> None:
    """The client remembers what it uploaded through Xet; the Hub must not have forgotten it in that place."""
    repo, data = hub.new_repo(), noise(200_000)
    for number in (1, 2):
        hub.api("bob").create_commit(
            repo, [add("d.safetensors", data)], commit_message="mine", create_pr=True
        )
        assert hub.read(repo, "d.safetensors", f"refs/pr/{number}") == data
        hub.api().change_discussion_status(repo, number, "closed")
        with hub.http("alice") as http:
            assert http.delete(f"/api/models/{repo}/discussions/{number}/ref").status_code == 200


def test_squashing_frees_what_only_the_history_had(hub: Hub) -> None:
    repo, api = hub.new_repo(), hub.api()
    api.create_commit(repo, [add("a.bin", noise(1000))], commit_message="m")
    (old,) = api.get_paths_info(repo, "a.bin")
    api.create_commit(repo, [add("a.bin", noise(1000))], commit_message="m")
    (new,) = api.get_paths_info(repo, "a.bin")
    api.super_squash_history(repo)
    assert not blob(hub, old.lfs.sha256).exists() and blob(hub, new.lfs.sha256).exists()
    assert len(api.list_repo_commits(repo)) == 1
