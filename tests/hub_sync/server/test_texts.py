"""JSON can hold what is no text: half a surrogate pair. None comes in, and one that is there is no 500."""

import json

import pytest

from hub_sync.store import Store
from tests.hub_sync.served import Hub

HALF = b'"\\ud800"'


def commit(header: bytes, path: bytes = b'"a"', parent: bytes = b"null") -> bytes:
    first = b'{"key": "header", "value": {"summary": %s, "parentCommit": %s}}\n' % (header, parent)
    return first + b'{"key": "file", "value": {"path": %s, "content": ""}}' % path


@pytest.mark.parametrize(
    "path, body",
    [
        ("discussions/1/comment", b'{"comment": %s}' % HALF),
        ("discussions/1/title", b'{"title": "title%s}' % HALF[1:]),
        ("discussions/1/status", b'{"status": "closed", "comment": %s}' % HALF),
        ("discussions", b'{"title": "question", "description": %s}' % HALF),
        ("preupload/main", b'{"files": [{"path": %s, "size": 1, "sample": ""}]}' % HALF),
        ("commit/main", commit(HALF)),
        ("commit/main", commit(b'"m"', path=HALF)),
        ("commit/main", commit(b'"m"', parent=HALF)),
        ("commit/main?create_pr=1", commit(b'"m"', parent=HALF)),
        ("tag/main", b'{"tag": %s}' % HALF),
        ("discussions/1/comment", b'{"comment": "\xed\xa0\x80"}'),
    ],
)
def test_half_a_character_is_refused(hub: Hub, path: str, body: bytes) -> None:
    repo, api = hub.new_repo(), hub.api()
    api.create_discussion(repo, title="question")
    with hub.http("alice") as http:
        answer = http.post(f"/api/models/{repo}/{path}", content=body)
        assert 400 <= answer.status_code < 500, answer.text
        assert http.get(f"/api/models/{repo}/discussions/1").status_code == 200


def test_what_was_stored_before_is_read_with_a_replacement(hub: Hub) -> None:
    repo, api = hub.new_repo(), hub.api()
    api.create_discussion(repo, title="question", description="fine")
    with Store(hub.root).database.exclusive() as db:
        db.execute(
            "UPDATE events SET data = ? WHERE repo = ?", (json.dumps({"text": "\ud800 \U0001f600"}), repo)
        )
    (event,) = api.get_discussion_details(repo, 1).events
    assert event.content == "? \U0001f600"  # type: ignore[attr-defined]


def test_whole_characters_are_fine(hub: Hub) -> None:
    repo = hub.new_repo()
    with hub.http("alice") as http:
        body = b'{"title": "a face", "description": "\\ud83d\\ude00"}'
        assert http.post(f"/api/models/{repo}/discussions", content=body).status_code == 200
    assert hub.api().get_discussion_details(repo, 1).events[0].content == "\U0001f600"  # type: ignore[attr-defined]
