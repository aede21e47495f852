"""Repos: made, renamed, deleted; described and listed."""

import pytest
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, RepositoryNotFoundError

from hub_sync.local import LocalHub
from hub_sync.store import Store
from tests.hub_sync.served import Hub, add, noise


def test_a_renamed_repo_is_found_by_both_names_and_keeps_all_it_has(hub: Hub) -> None:
    old, api = hub.new_repo(), hub.api()
    hub.api("bob").create_commit(old, [add("d.txt", b"d")], commit_message="mine", create_pr=True)
    new = f"{old}-renamed"
    api.move_repo(old, new)
    assert [d.num for d in api.get_repo_discussions(new)] == [1]
    assert api.repo_info(old).id == new
    assert hub.read(old, "d.txt", "refs/pr/1") == b"d"
    api.comment_discussion(old, 1, "still here")
    api.create_commit(old, [add("a.txt", b"a")], commit_message="m")
    api.move_repo(new, f"{new}-again")
    assert api.repo_info(old).id == f"{new}-again"
    api.create_repo(old)
    assert api.repo_info(old).id == old


def test_a_rename_that_a_crash_interrupted_is_finished(hub: Hub) -> None:
    old, store = hub.new_repo(private=True), Store(hub.root)
    new = f"{old}-renamed"
    with store.database.exclusive() as db:
        db.execute("INSERT INTO redirects VALUES (?, ?, 0)", (old, new))
    Store(hub.root)
    assert hub.api().repo_info(new).private
    with pytest.raises(RepositoryNotFoundError):
        hub.api("bob").repo_info(new)


def test_names_that_cannot_be(hub: Hub) -> None:
    with hub.http("alice") as http:
        for name in ("../x", "a/b", ".git", "x.git", "", "a" * 97, "a..b", None, 5):
            answer = http.post("/api/repos/create", json={"name": name})
            assert answer.status_code == 400, name
        assert http.post("/api/repos/create", json={"name": "x", "type": "bucket"}).status_code == 404


def test_a_name_that_is_taken(hub: Hub) -> None:
    repo = hub.new_repo()
    with pytest.raises(HfHubHTTPError) as error:
        hub.api().create_repo(repo)
    assert error.value.response.status_code == 409
    assert hub.api().create_repo(repo, exist_ok=True).repo_id == repo


def test_kinds_are_apart(hub: Hub) -> None:
    repo = hub.new_repo()
    hub.api().create_repo(repo, repo_type="dataset")
    hub.api().create_repo(repo, repo_type="space", space_sdk="static")
    hub.api().delete_repo(repo)
    assert hub.api().repo_info(repo, repo_type="dataset").id == repo
    assert hub.api().list_repo_files(repo, repo_type="space") == [".gitattributes", "README.md"]


def test_a_description_with_sizes_and_digests(hub: Hub) -> None:
    repo, data = hub.new_repo(), noise(5000)
    hub.api().create_commit(repo, [add("a.bin", data), add("b.txt", b"hello")], commit_message="m")
    found = {file.rfilename: file for file in hub.api().model_info(repo, files_metadata=True).siblings or []}
    assert found["a.bin"].size == 5000 and found["a.bin"].lfs is not None
    assert (found["b.txt"].size, found["b.txt"].lfs) == (5, None)
    assert found["b.txt"].blob_id == "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"  # git hash-object
    with pytest.raises(BadRequestError, match="expected one of"):
        hub.api().model_info(repo, expand=["nonsense"])  # type: ignore[list-item]


def test_lists_have_pages(hub: Hub) -> None:
    repo = hub.new_repo()
    files = [add(f"{number:04}", b"x") for number in range(1001)]
    hub.api().create_commit(repo, files, commit_message="m")
    assert len(hub.api().list_repo_files(repo)) == 1002
    expanded = list(hub.api().list_repo_tree(repo, expand=True))[:3]
    assert [item.last_commit.title for item in expanded] == ["initial commit", "m", "m"]


def test_one_store_two_doors(hub: Hub) -> None:
    """What is written over HTTP is seen in process, and the reverse."""
    repo, data, api = hub.new_repo(), noise(3000), hub.api()
    local = LocalHub(hub.root, repo_id=repo, author="alice")
    first = api.create_commit(repo, [add("base.safetensors", data)], commit_message="m").oid
    assert local.head() == first and local.fetch("base.safetensors", at=first).read_bytes() == data
    opened = hub.api("bob").create_commit(repo, [add("d.bin", data)], commit_message="b: 1", create_pr=True)
    (proposal,) = local.proposals()
    assert (proposal.number, proposal.author, proposal.title) == (1, "bob", "b: 1")
    assert proposal.revision == opened.oid
    small = local.fetch(".gitattributes", at=first)
    second = local.commit({"record.json": small}, message="in process", parent=local.head())
    assert api.repo_info(repo).sha == second and "record.json" in api.list_repo_files(repo)
    mine = local.propose({"e.txt": small}, title="local: 1", message="m", parent=second)
    assert hub.read(repo, "e.txt", f"refs/pr/{mine.number}") == small.read_bytes()
    local.settle(1, comment="fused")
    assert api.get_discussion_details(repo, 1).status == "closed"
    other = LocalHub(hub.root, repo_id="lab/by-hand")
    other.commit({"a.txt": small}, message="m", parent=None)
    assert "a.txt" in api.list_repo_files("lab/by-hand")


@pytest.mark.parametrize("page", ["9" * 5000, "-1", "x", "%C2%B2"])
def test_a_page_that_is_no_number_is_refused(hub: Hub, page: str) -> None:
    repo = hub.new_repo()
    with hub.http() as http:
        for path in ("tree/main?cursor=", "tree/main?expand=1&cursor=", "discussions?p="):
            assert http.get(f"/api/models/{repo}/{path}{page}").status_code == 400
        assert http.get(f"/api/models?limit={page}").status_code == 400
