"""Who sees what, and who may do what."""

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from tests.hub_sync.served import TOKENS, Hub, add


def status_of(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return error.value.response.status_code


def test_whoami_tells_names_orgs_and_role(hub: Hub) -> None:
    found = hub.api("alice").whoami()
    assert found["name"] == "alice" and found["auth"]["accessToken"]["role"] == "write"
    assert [(org["name"], org["fullname"]) for org in found["orgs"]] == [("lab", "The Lab")]


def test_a_wrong_token_is_told_from_none(hub: Hub) -> None:
    repo = hub.new_repo()
    with pytest.raises(HfHubHTTPError, match="Invalid credentials") as error:
        HfApi(endpoint=hub.endpoint, token="hf_nobody_has_this_one").repo_info(repo)
    assert status_of(error) == 401
    assert HfApi(endpoint=hub.endpoint, token=False).repo_info(repo).id == repo


@pytest.mark.parametrize("who", ["bob", "carol", None])
def test_a_private_repo_is_not_there_for_others(hub: Hub, who: str | None) -> None:
    repo = hub.new_repo(private=True)
    api = HfApi(endpoint=hub.endpoint, token=TOKENS[who] if who else False)
    for call in (api.repo_info, api.list_repo_refs, api.list_repo_commits, api.list_repo_files):
        with pytest.raises(RepositoryNotFoundError):
            call(repo)
    with pytest.raises(RepositoryNotFoundError):
        api.hf_hub_download(repo, ".gitattributes")
    assert repo not in {model.id for model in api.list_models(author="alice")}
    assert hub.api("root").repo_info(repo).private


def test_what_an_org_has_is_for_its_members(hub: Hub) -> None:
    repo = hub.api("alice").create_repo(f"lab/{hub.new_repo().split('/')[1]}", private=True).repo_id
    hub.api("dave").create_commit(repo, [add("a.txt", b"a")], commit_message="by dave")
    with pytest.raises(RepositoryNotFoundError):
        hub.api("bob").repo_info(repo)


def test_reading_is_enough_to_open_a_pull_request_and_to_comment_and_no_more(hub: Hub) -> None:
    repo, api = hub.new_repo(), hub.api("carol")
    opened = api.create_commit(repo, [add("a.txt", b"a")], commit_message="mine", create_pr=True)
    api.comment_discussion(repo, opened.pr_num, "look")
    forbidden = [
        lambda: api.create_commit(repo, [add("a.txt", b"a")], commit_message="not mine"),
        lambda: api.create_tag(repo, tag="v1"),
        lambda: api.create_branch(repo, branch="b"),
        lambda: api.merge_pull_request(repo, opened.pr_num),
        lambda: api.update_repo_settings(repo, private=True),
        lambda: api.create_repo("of-my-own"),
        lambda: api.delete_repo(repo),
    ]
    for call in forbidden:
        with pytest.raises(HfHubHTTPError, match="may only read") as error:
            call()
        assert status_of(error) == 403
    assert hub.api().list_repo_files(repo) == [".gitattributes"]


def test_nobody_writes_to_the_namespace_of_somebody_else(hub: Hub) -> None:
    repo = hub.new_repo("alice")
    with pytest.raises(HfHubHTTPError, match="it belongs to alice. Open a pull request") as error:
        hub.api("bob").create_commit(repo, [add("a.txt", b"a")], commit_message="m")
    assert status_of(error) == 403
    with pytest.raises(HfHubHTTPError):
        hub.api("bob").create_repo("alice/another")


def test_a_gated_repo_is_seen_by_all_and_read_by_those_who_were_let_in(hub: Hub) -> None:
    repo = hub.new_repo()
    hub.api().update_repo_settings(repo, gated="manual")
    assert hub.api("bob").repo_info(repo).gated == "manual"
    with pytest.raises(GatedRepoError):
        hub.api("bob").hf_hub_download(repo, ".gitattributes")
    with pytest.raises(GatedRepoError):
        hub.api("bob").create_commit(repo, [add("a", b"a")], commit_message="m", create_pr=True)
    with hub.http("bob") as http:
        asked = http.post(f"/{repo}/ask-access", data={"affiliation": "elsewhere"})
        assert asked.json() == {"status": "pending"}
    (request,) = hub.api().list_pending_access_requests(repo)
    assert (request.username, request.fields) == ("bob", {"affiliation": "elsewhere"})
    hub.api().accept_access_request(repo, "bob")
    hub.api("bob").hf_hub_download(repo, ".gitattributes")
    hub.api("bob").create_commit(repo, [add("a", b"a")], commit_message="m", create_pr=True)


def test_discussions_that_are_off_are_off_for_others(hub: Hub) -> None:
    repo = hub.new_repo()
    with hub.http("alice") as http:
        assert http.put(f"/api/models/{repo}/settings", json={"discussionsDisabled": True}).status_code == 200
    for call in (
        lambda: hub.api("bob").create_commit(repo, [add("a", b"a")], commit_message="m", create_pr=True),
        lambda: hub.api("bob").create_discussion(repo, "a question"),
    ):
        with pytest.raises(HfHubHTTPError, match="disabled") as error:
            call()
        assert status_of(error) == 403


def test_ids_are_found_whatever_their_case(hub: Hub) -> None:
    repo = hub.new_repo()
    assert hub.api().repo_info(repo.upper()).id == repo


def test_auth_check_is_for_everybody(hub: Hub) -> None:
    repo = hub.new_repo()
    HfApi(endpoint=hub.endpoint, token=False).auth_check(repo)
    hub.api().auth_check(repo, write=True)
    with pytest.raises(HfHubHTTPError, match="Open a pull request"):
        hub.api("bob").auth_check(repo, write=True)


def test_errors_have_what_the_client_shows(hub: Hub) -> None:
    with hub.http() as http:
        answer = http.get("/api/models/alice/nowhere", headers={"X-Amzn-Trace-Id": "my-request"})
    assert answer.status_code == 404 and answer.json() == {"error": "Repository not found"}
    expected = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
    assert {name: answer.headers[name] for name in expected} == expected
    assert answer.headers["X-Request-Id"] == "my-request"


@pytest.mark.parametrize(
    "path", ["/", "/api/agent-harnesses", "/api/models/../../etc", "/..%2f..%2fetc/passwd"]
)
def test_what_is_not_there_is_a_404(hub: Hub, path: str) -> None:
    with hub.http() as http:
        assert http.get(path).status_code == 404
