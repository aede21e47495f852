"""Commits onto branches and as pull requests: all or nothing, against a known parent."""

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from dulwich.objects import ObjectID
from huggingface_hub import CommitOperationCopy, CommitOperationDelete
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

from hub_sync.server.failures import ApiError
from hub_sync.server.operations import laid_over
from tests.hub_sync.served import Hub, add, noise


def test_of_commits_against_one_parent_one_wins_and_the_others_are_told_412(hub: Hub) -> None:
    repo, api = hub.new_repo(), hub.api()
    parent = api.repo_info(repo).sha

    def attempt(number: int) -> int:
        try:
            operations = [add(f"{number}.txt", b"x")]
            api.create_commit(repo, operations, commit_message=f"{number}", parent_commit=parent)
        except HfHubHTTPError as exc:
            return exc.response.status_code
        return 200

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(attempt, range(8)))
    assert sorted(answers) == [200] + 7 * [412]
    assert api.list_repo_files(repo) == sorted([".gitattributes", f"{answers.index(200)}.txt"])


def test_of_commits_without_a_parent_none_is_lost(hub: Hub) -> None:
    repo, api = hub.new_repo(), hub.api()
    with ThreadPoolExecutor(6) as threads:
        list(
            threads.map(lambda i: api.create_commit(repo, [add(f"{i}", b"x")], commit_message="m"), range(6))
        )
    assert api.list_repo_files(repo) == [".gitattributes", "0", "1", "2", "3", "4", "5"]
    assert len(api.list_repo_commits(repo)) == 7


def test_of_pull_requests_opened_at_once_none_is_lost_and_numbers_are_dense(hub: Hub) -> None:
    repo, parent = hub.new_repo(), ""

    def propose(number: int) -> int:
        operations = [add(f"contributions/{number}/delta.safetensors", noise(1000))]
        message = f"contribution {number}"
        opened = hub.api("bob").create_commit(repo, operations, commit_message=message, create_pr=True)
        return int(opened.pr_num or 0)

    with ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(propose, range(6))) == [1, 2, 3, 4, 5, 6]
    refs = hub.api().list_repo_refs(repo, include_pull_requests=True)
    assert [ref.ref for ref in refs.pull_requests or []] == [f"refs/pr/{n}" for n in range(1, 7)]
    assert not parent


def test_a_pull_request_starts_from_the_parent_that_it_names(hub: Hub) -> None:
    repo, api = hub.new_repo(), hub.api()
    base = api.create_commit(repo, [add("model.txt", b"1")], commit_message="round 0").oid
    api.create_commit(repo, [add("model.txt", b"2")], commit_message="round 1")
    operations = [add("delta.txt", b"d")]
    opened = hub.api("bob").create_commit(
        repo,
        operations,
        commit_message="bob: 1",
        commit_description="more",
        create_pr=True,
        parent_commit=base,
    )
    found = hub.api().get_discussion_details(repo, opened.pr_num or 0)
    assert (found.status, found.author, found.title, found.target_branch) == (
        "open",
        "bob",
        "bob: 1",
        "refs/heads/main",
    )
    assert [event.type for event in found.events] == ["comment", "commit"]
    history = [commit.commit_id for commit in api.list_repo_commits(repo, revision="refs/pr/1")]
    assert history[:2] == [opened.oid, base]
    assert hub.read(repo, "model.txt", "refs/pr/1") == b"1"


def test_a_pull_request_from_a_commit_that_is_nowhere_is_refused(hub: Hub) -> None:
    repo, api = hub.new_repo(), hub.api()
    for parent in ("0" * 40, "abcdef0"):
        with pytest.raises(RevisionNotFoundError):
            api.create_commit(
                repo, [add("a", b"a")], commit_message="m", create_pr=True, parent_commit=parent
            )
    assert list(api.get_repo_discussions(repo)) == []


def test_its_author_adds_to_a_pull_request_until_it_is_closed_and_others_do_not(hub: Hub) -> None:
    repo, bob = hub.new_repo(), hub.api("bob")
    bob.create_commit(repo, [add("a", b"1")], commit_message="m", create_pr=True)
    bob.create_commit(repo, [add("a", b"2")], commit_message="again", revision="refs/pr/1")
    assert [e.type for e in bob.get_discussion_details(repo, 1).events] == ["commit", "commit"]
    with pytest.raises(HfHubHTTPError, match="may only read"):
        hub.api("carol").create_commit(repo, [add("a", b"3")], commit_message="m", revision="refs/pr/1")
    bob.change_discussion_status(repo, 1, "closed")
    with pytest.raises(HfHubHTTPError, match="is closed: nothing can be added"):
        bob.create_commit(repo, [add("a", b"4")], commit_message="m", revision="refs/pr/1")


@pytest.mark.parametrize(
    "path",
    ["../a", "a/../../b", "/a", "a//b", ".git/config", "x/.GIT/hooks", "a\x00b", "..\\a", "a/.", "a" * 1025],
)
def test_paths_that_lead_elsewhere_are_refused(hub: Hub, path: str) -> None:
    repo = hub.new_repo()
    lines = [
        {"key": "header", "value": {"summary": "m"}},
        {"key": "file", "value": {"path": path, "content": "YQ==", "encoding": "base64"}},
    ]
    with hub.http("alice") as http:
        body = "\n".join(map(json.dumps, lines))
        assert http.post(f"/api/models/{repo}/commit/main", content=body).status_code == 422
        files = [{"path": path, "sample": "", "size": 1}]
        assert http.post(f"/api/models/{repo}/preupload/main", json={"files": files}).status_code == 422
    assert hub.api().list_repo_files(repo) == [".gitattributes"]


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[1]",
        '{"key": "magic", "value": {}}',
        '{"key": "file", "value": {"path": "a", "content": "*"}}',
        '{"key": "file", "value": {"path": "a", "content": "YQ==", "encoding": "utf-8"}}',
        '{"key": "lfsFile", "value": {"path": "a", "oid": "../../hub.sqlite3"}}',
        '{"key": "lfsFile", "value": {"path": "a", "oid": "' + "0" * 64 + '"}}',
    ],
)
def test_a_commit_that_cannot_be_understood_changes_nothing(hub: Hub, line: str) -> None:
    repo = hub.new_repo()
    with hub.http("alice") as http:
        body = '{"key": "header", "value": {"summary": "m"}}\n' + line
        assert http.post(f"/api/models/{repo}/commit/main", content=body).status_code == 400
    assert len(hub.api().list_repo_commits(repo)) == 1


def test_a_file_is_not_put_in_the_place_of_a_folder(hub: Hub) -> None:
    repo, api = hub.new_repo(), hub.api()
    api.create_commit(repo, [add("a", b"file")], commit_message="m")
    with pytest.raises(HfHubHTTPError, match="'a' is a file"):
        api.create_commit(repo, [add("a/b", b"x")], commit_message="m")
    with pytest.raises(HfHubHTTPError, match="a file and a folder"):
        api.create_commit(repo, [add("c", b"x"), add("c/d", b"x")], commit_message="m")


def test_knowing_the_hash_of_a_file_is_not_having_it(hub: Hub) -> None:
    """A pointer to somebody's private file would make it public."""
    secret, mine = hub.new_repo(private=True), hub.new_repo("bob")
    hub.api().create_commit(secret, [add("a.bin", noise(100))], commit_message="m")
    (info,) = hub.api().get_paths_info(secret, "a.bin")
    oid = info.lfs.sha256
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 100\n"
    with hub.http("bob") as http:
        wanted = {"operation": "upload", "objects": [{"oid": oid, "size": 100}]}
        answer = http.post(f"/{mine}.git/info/lfs/objects/batch", json=wanted).json()
        assert "upload" in answer["objects"][0]["actions"]  # he has to send it
        for key, value in (
            ("lfsFile", {"path": "a.bin", "algo": "sha256", "oid": oid, "size": 100}),
            ("file", {"path": "a.txt", "content": base64.b64encode(pointer.encode()).decode()}),
        ):
            header = {"key": "header", "value": {"summary": "m"}}
            body = "\n".join(map(json.dumps, (header, {"key": key, "value": value})))
            http.post(f"/api/models/{mine}/commit/main", content=body)
        assert http.get(f"/{mine}/resolve/main/a.bin").status_code == 404
        assert http.get(f"/{mine}/resolve/main/a.txt").text == pointer


def test_copies_and_deletions_within_a_repo(hub: Hub) -> None:
    repo, api, data = hub.new_repo(), hub.api(), noise(1000)
    api.create_commit(repo, [add("a.bin", data), add("d/x", b"x"), add("d/y", b"y")], commit_message="m")
    operations = [CommitOperationCopy("a.bin", "b.bin"), CommitOperationDelete("d/")]
    api.create_commit(repo, operations, commit_message="m")
    assert api.list_repo_files(repo) == [".gitattributes", "a.bin", "b.bin"]
    assert hub.read(repo, "b.bin") == data


def test_the_same_file_is_not_committed_again(hub: Hub) -> None:
    repo, api, operations = hub.new_repo(), hub.api(), [add("a.txt", b"a")]
    first = api.create_commit(repo, operations, commit_message="m").oid
    assert api.create_commit(repo, [add("a.txt", b"a")], commit_message="m").oid == first


def test_a_commit_and_a_preupload_have_so_many_files_and_no_more(hub: Hub) -> None:
    repo, header = hub.new_repo(), json.dumps({"key": "header", "value": {"summary": "m"}})
    line = json.dumps({"key": "deletedFile", "value": {"path": "not/there"}})
    with hub.http("alice") as http:
        for count, status in ((25_000, 404), (25_001, 413)):
            body = "\n".join([header, *[line] * count])
            assert http.post(f"/api/models/{repo}/commit/main", content=body).status_code == status
        for count, status in ((1000, 200), (1001, 413)):
            files = [{"path": f"{number}", "sample": "", "size": 1} for number in range(count)]
            answer = http.post(f"/api/models/{repo}/preupload/main", json={"files": files})
            assert answer.status_code == status


def test_many_deletions_take_one_look_at_the_files() -> None:
    sha = ObjectID(b"0" * 40)
    files = {f"d{number % 100}/e/{number}": sha for number in range(50_000)}
    start = time.process_time()
    left = laid_over(files, {"d1": sha}, [*list(files)[2::100], "d1", "d3", "d3/e", "d4/e"])
    assert time.process_time() - start < 1
    assert len(left) == 50_000 * 96 // 100 + 1 and left["d1"] == sha
    with pytest.raises(ApiError, match="'d5/f'"):
        laid_over(files, {}, ["d5/e", "d5/f"])
