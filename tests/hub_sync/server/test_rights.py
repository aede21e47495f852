"""Rights are asked for when something is done, not only when it is begun, and end with the person."""

import base64
import hashlib
import json
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from huggingface_hub.utils import httpx

from hub_sync.gates import Gates
from hub_sync.people import People, Person
from hub_sync.store import Store
from tests.hub_sync.served import Hub, add


class Guest:
    """Somebody who will not stay."""

    def __init__(self, hub: Hub) -> None:
        self.name = f"guest{uuid.uuid4().hex[:8]}"
        self.token, self._hub = f"hf_token_of_{self.name}", hub
        self.store = Store(hub.root)
        self.come()

    def come(self) -> None:
        person = Person(name=self.name, fullname="", role="write", orgs=())
        People(self.store.database).add(person, self.token)

    def go(self) -> None:
        People(self.store.database).remove(self.name)

    def http(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=self._hub.endpoint, headers=headers, timeout=60)


@pytest.fixture
def guest(hub: Hub) -> Guest:
    return Guest(hub)


def lines(*found: tuple[str, dict[str, object]]) -> bytes:
    return b"\n".join(json.dumps({"key": key, "value": value}).encode() for key, value in found)


COMMIT = lines(
    ("header", {"summary": "late"}),
    ("file", {"path": "late.txt", "content": base64.b64encode(b"x").decode()}),
)


@contextmanager
def half_sent(hub: Hub, path: str, token: str) -> Iterator[tuple[socket.socket, bytes]]:
    """A commit of which the Hub has the head and a few bytes; the rest of it."""
    host, port = hub.endpoint.removeprefix("http://").split(":")
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"{head}Content-Length: {len(COMMIT)}\r\n\r\n".encode() + COMMIT[:10])
        time.sleep(0.2)  # until the Hub has looked at who it is
        yield connection, COMMIT[10:]


def test_whoever_is_removed_while_a_commit_is_under_way_does_not_commit(hub: Hub, guest: Guest) -> None:
    with guest.http() as http:
        assert http.post("/api/repos/create", json={"name": "own"}).status_code == 200
    path = f"/api/models/{guest.name}/own/commit/main"
    with half_sent(hub, path, guest.token) as (connection, rest):
        guest.go()
        connection.sendall(rest)
        assert connection.recv(100).startswith(b"HTTP/1.1 401")
    assert hub.api().list_repo_files(f"{guest.name}/own") == [".gitattributes"]


def test_a_repo_that_becomes_private_while_a_pull_request_is_under_way_gets_none(hub: Hub) -> None:
    repo, bob = hub.new_repo(), hub.api("bob").token
    with half_sent(hub, f"/api/models/{repo}/commit/main?create_pr=1", str(bob)) as (connection, rest):
        hub.api().update_repo_settings(repo, private=True)
        connection.sendall(rest)
        assert connection.recv(100).startswith(b"HTTP/1.1 404")
    assert not list(hub.api().get_repo_discussions(repo))


def test_a_repo_that_is_renamed_while_a_commit_is_under_way_leaves_no_ghost(hub: Hub) -> None:
    repo, api = hub.new_repo(), hub.api()
    with half_sent(hub, f"/api/models/{repo}/commit/main", str(api.token)) as (connection, rest):
        api.move_repo(repo, f"{repo}-2")
        connection.sendall(rest)
        assert connection.recv(100).startswith(b"HTTP/1.1 404")
    api.move_repo(f"{repo}-2", repo)
    assert api.list_repo_files(repo) == [".gitattributes"]


def test_what_was_signed_for_somebody_goes_with_them(hub: Hub, guest: Guest) -> None:
    data = guest.name.encode()
    wanted = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
    repo = hub.new_repo()
    with guest.http() as http:
        found = http.post(
            f"/{repo}.git/info/lfs/objects/batch", json={"operation": "upload", "objects": [wanted]}
        ).json()
        href = found["objects"][0]["actions"]["upload"]["href"]
        guest.go()
        assert http.put(href, content=data).status_code == 403
        guest.come()  # somebody else, of the same name
        assert http.put(href, content=data).status_code == 403


def test_whoever_comes_under_the_name_of_somebody_who_left_has_nothing_of_theirs(
    hub: Hub, guest: Guest
) -> None:
    repo, database = hub.new_repo(), guest.store.database
    hub.api().update_repo_settings(repo, gated="manual")
    Gates(database).set(repo, guest.name, "accepted")
    with guest.http() as http:
        hook = {"url": "http://example.com/x", "watched": [{"type": "user", "name": "alice"}]}
        assert http.post("/api/settings/webhooks", json=hook).status_code == 200
        with database.exclusive() as db:
            db.execute("INSERT INTO uploads VALUES (?, ?, 1, ?)", ("0" * 64, guest.name, time.time()))
        guest.go()
        guest.come()
        assert http.get("/api/settings/webhooks").json() == []
        assert http.get(f"/{repo}/resolve/main/.gitattributes").status_code == 403
    with database.connection() as db:
        assert not db.execute("SELECT * FROM uploads WHERE user = ?", (guest.name,)).fetchall()


def test_the_new_name_of_a_private_repo_is_for_those_who_may_see_it(hub: Hub) -> None:
    old = hub.new_repo(private=True)
    hub.api().move_repo(old, f"{old}-secret")
    for who in ("bob", None):
        with hub.http(who) as http:
            answer = http.get(f"/api/models/{old}")
            assert (answer.status_code, answer.json()) == (404, {"error": "Repository not found"})
            assert "secret" not in str(answer.headers)
    with hub.http("alice") as http:
        assert http.get(f"/api/models/{old}").status_code == 307


def test_nobody_learns_whether_others_have_a_file(hub: Hub, lfs: None) -> None:
    mine, theirs, data = hub.new_repo("bob"), hub.new_repo(private=True), uuid.uuid4().bytes
    hub.api().create_commit(theirs, [add("x.bin", data)], commit_message="m")
    wanted = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
    with hub.http("bob") as http:
        found = http.post(
            f"/{mine}.git/info/lfs/objects/batch", json={"operation": "upload", "objects": [wanted]}
        ).json()
        actions = found["objects"][0]["actions"]
        assert http.post(actions["verify"]["href"], json={}).status_code == 404
        assert http.put(actions["upload"]["href"], content=data).status_code == 200
        assert http.post(actions["verify"]["href"], json={}).status_code == 200
