"""Tags and branches."""

import pytest
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

from tests.hub_sync.served import Hub, add


def test_a_tag_names_a_revision_until_it_is_deleted(hub: Hub) -> None:
    repo, api = hub.new_repo(), hub.api()
    first = api.create_commit(repo, [add("a", b"1")], commit_message="m").oid
    api.create_commit(repo, [add("a", b"2")], commit_message="m")
    api.create_tag(repo, tag="round-0000", revision=first[:8])
    assert hub.read(repo, "a", "round-0000") == b"1"
    with pytest.raises(HfHubHTTPError) as error:
        api.create_tag(repo, tag="round-0000")
    assert error.value.response.status_code == 409
    api.delete_tag(repo, tag="round-0000")
    with pytest.raises(RevisionNotFoundError):
        api.repo_info(repo, revision="round-0000")


@pytest.mark.parametrize("name", ["a b", "../../x", "a..b", "a~1", "x.lock", "refs/heads/main", "", "ä"])
def test_names_that_git_does_not_allow(hub: Hub, name: str) -> None:
    repo = hub.new_repo()
    with hub.http("alice") as http:
        assert http.post(f"/api/models/{repo}/tag/main", json={"tag": name}).status_code == 400
        if name:
            quoted = name.replace("/", "%2F")
            assert http.post(f"/api/models/{repo}/branch/{quoted}", json={}).status_code == 400
    assert not (hub.root / "x").exists()


def test_a_branch_is_not_put_below_another(hub: Hub) -> None:
    repo, api = hub.new_repo(), hub.api()
    api.create_branch(repo, branch="a")
    with pytest.raises(HfHubHTTPError, match="in the way"):
        api.create_branch(repo, branch="a/b")


def test_main_stays(hub: Hub) -> None:
    with pytest.raises(HfHubHTTPError, match="Cannot delete refs/heads/main"):
        hub.api().delete_branch(hub.new_repo(), branch="main")
