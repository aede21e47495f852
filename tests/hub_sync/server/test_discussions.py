"""Discussions and pull requests between people."""

import pytest
from huggingface_hub.errors import HfHubHTTPError

from hub_sync.discussions import Discussion, add_discussion, add_event
from hub_sync.server.commits import MOST_EVENTS
from hub_sync.store import Store
from tests.hub_sync.served import Hub, add


def propose(hub: Hub, repo: str, who: str = "bob") -> int:
    opened = hub.api(who).create_commit(repo, [add(f"{who}.txt", b"x")], commit_message=who, create_pr=True)
    return int(opened.pr_num or 0)


def test_a_draft_counts_as_open_and_becomes_open_by_its_author(hub: Hub) -> None:
    repo, bob = hub.new_repo(), hub.api("bob")
    draft = bob.create_pull_request(repo, title="to be continued")
    assert draft.status == "draft"
    assert [d.status for d in bob.get_repo_discussions(repo, discussion_status="open")] == ["draft"]
    with pytest.raises(HfHubHTTPError, match="only an open one can be merged"):
        hub.api().merge_pull_request(repo, draft.num)
    bob.change_discussion_status(repo, draft.num, "open")
    assert [d.status for d in bob.get_repo_discussions(repo)] == ["open"]


def test_an_author_closes_their_own_and_a_writer_closes_all_with_a_word(hub: Hub) -> None:
    repo = hub.new_repo()
    first, second = propose(hub, repo), propose(hub, repo)
    hub.api("bob").change_discussion_status(repo, first, "closed")
    with pytest.raises(HfHubHTTPError, match="only bob and writers") as error:
        hub.api("carol").change_discussion_status(repo, second, "closed")
    assert error.value.response.status_code == 403
    hub.api().change_discussion_status(repo, second, "closed", comment="refused: NaN")
    events = hub.api().get_discussion_details(repo, second).events
    assert [(e.type, e.author) for e in events] == [
        ("commit", "bob"),
        ("comment", "alice"),
        ("status-change", "alice"),
    ]
    assert events[1].content == "refused: NaN"  # type: ignore[attr-defined]


def test_closing_again_changes_nothing(hub: Hub) -> None:
    """So that whoever lost the answer may ask again."""
    repo, api = hub.new_repo(), hub.api()
    number = propose(hub, repo)
    one = api.change_discussion_status(repo, number, "closed", comment="done")
    two = api.change_discussion_status(repo, number, "closed", comment="done")
    assert one == two and len(api.get_discussion_details(repo, number).events) == 3


def test_numbers_are_shared_and_lists_are_newest_first(hub: Hub) -> None:
    repo, api = hub.new_repo(), hub.api()
    api.create_discussion(repo, title="a question")
    assert propose(hub, repo) == 2
    assert [d.num for d in api.get_repo_discussions(repo)] == [2, 1]
    assert [d.num for d in api.get_repo_discussions(repo, author="bob")] == [2]


def test_lists_have_pages(hub: Hub) -> None:
    repo = hub.new_repo()
    with Store(hub.root).database.exclusive() as db:
        for number in range(1, 52):
            facts = {"repo": repo, "number": number, "title": "question", "author": "bob", "status": "open"}
            add_discussion(db, Discussion(**facts, is_pull_request=False, created_at=0))  # type: ignore[arg-type]
    assert [d.num for d in hub.api().get_repo_discussions(repo)] == list(range(51, 0, -1))


def test_comments_are_edited_by_their_authors_and_hidden_by_writers(hub: Hub) -> None:
    repo, bob = hub.new_repo(), hub.api("bob")
    number = propose(hub, repo)
    said = bob.comment_discussion(repo, number, "one")
    edited = bob.edit_discussion_comment(repo, number, said.id, "two")
    assert (edited.content, edited.edited, edited.number_of_edits) == ("two", True, 1)
    with pytest.raises(HfHubHTTPError, match="bob's to edit"):
        hub.api().edit_discussion_comment(repo, number, said.id, "three")
    with pytest.warns(UserWarning, match="irreversible"), pytest.raises(HfHubHTTPError):
        hub.api("carol").hide_discussion_comment(repo, number, said.id)
    with pytest.warns(UserWarning, match="irreversible"):
        assert hub.api().hide_discussion_comment(repo, number, said.id).hidden
    assert "two" not in str(hub.api().get_discussion_details(repo, number).events)


def test_of_many_edits_the_last_ten_versions_are_kept(hub: Hub) -> None:
    repo, bob = hub.new_repo(), hub.api("bob")
    number = propose(hub, repo)
    said = bob.comment_discussion(repo, number, "0")
    for version in range(1, 14):
        edited = bob.edit_discussion_comment(repo, number, said.id, str(version))
    assert (edited.content, edited._event["data"]["numEdits"]) == ("13", 13)
    assert [old["raw"] for old in edited.edit_history] == [str(version) for version in range(3, 13)]


def test_a_discussion_has_so_many_comments_and_then_only_writers_go_on(hub: Hub) -> None:
    repo, bob = hub.new_repo(), hub.api("bob")
    number = propose(hub, repo)
    with Store(hub.root).database.exclusive() as db:
        about = Store(hub.root).discussions.get(repo, number)
        for _ in range(MOST_EVENTS):
            add_event(db, about, "comment", author="bob", data={"text": "and another thing"})
    for call in (
        lambda: bob.comment_discussion(repo, number, "more"),
        lambda: bob.rename_discussion(repo, number, new_title="more"),
        lambda: bob.change_discussion_status(repo, number, "closed"),
        lambda: bob.create_commit(repo, [add("a", b"a")], commit_message="m", revision=f"refs/pr/{number}"),
    ):
        with pytest.raises(HfHubHTTPError, match="enough for one discussion"):
            call()
    assert hub.api().change_discussion_status(repo, number, "closed", comment="enough").new_status == "closed"


def test_a_title_is_changed_by_author_or_writer(hub: Hub) -> None:
    repo = hub.new_repo()
    number = propose(hub, repo)
    assert hub.api().rename_discussion(repo, number, new_title="better").old_title == "bob"
    with pytest.raises(HfHubHTTPError):
        hub.api("carol").rename_discussion(repo, number, new_title="worse")


@pytest.mark.parametrize("title", ["ab", "x" * 201, "  a "])
def test_titles_have_3_to_200_characters(hub: Hub, title: str) -> None:
    with pytest.raises(HfHubHTTPError, match="3 to 200"):
        hub.api().create_discussion(hub.new_repo(), title=title)


def test_what_is_not_there_is_a_404(hub: Hub) -> None:
    with pytest.raises(HfHubHTTPError) as error:
        hub.api().get_discussion_details(hub.new_repo(), 7)
    assert error.value.response.status_code == 404
