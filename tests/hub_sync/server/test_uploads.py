"""Large files through Git LFS, and how large they may be."""

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from huggingface_hub.errors import HfHubHTTPError

from hub_sync.server import fastlane, uploads
from tests.hub_sync.served import Hub, add, in_thread, noise, wait_until

pytestmark = pytest.mark.usefixtures("lfs")


def batch(hub: Hub, repo: str, data: bytes, who: str = "alice") -> dict[str, dict[str, str]]:
    """What is to be done to upload `data`."""
    wanted = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
    with hub.http(who) as http:
        body = {"operation": "upload", "objects": [wanted]}
        found = http.post(f"/{repo}.git/info/lfs/objects/batch", json=body).json()
    actions: dict[str, dict[str, str]] = found["objects"][0].get("actions", {})
    return actions


def test_a_large_file_goes_up_and_comes_down(hub: Hub) -> None:
    repo, data = hub.new_repo(), noise(3_000_000)
    hub.api().create_commit(repo, [add("model.safetensors", data)], commit_message="m")
    assert hub.read(repo, "model.safetensors") == data


def test_a_body_that_is_read_past_the_web_server_arrives_whole(hub: Hub) -> None:
    repo, data = hub.new_repo(), noise(fastlane.LARGE + 12_345)
    href = batch(hub, repo, data)["upload"]["href"]
    with hub.http() as http:
        answer = http.put(href, content=data)
        assert (answer.status_code, answer.headers["Connection"]) == (200, "close")
        assert http.put(href, content=data[1:] + data[:1]).status_code == 422
        assert http.put(href, content=data).status_code == 200
    hub.api().create_commit(repo, [add("model.safetensors", data)], commit_message="m")
    assert hub.read(repo, "model.safetensors") == data


def test_an_upload_that_breaks_off_leaves_nothing(hub: Hub) -> None:
    address, incoming = urlsplit(hub.endpoint), hub.root / "blobs" / "incoming"
    for size in (1 << 16, 2 * fastlane.LARGE):
        href = urlsplit(batch(hub, hub.new_repo(), noise(size))["upload"]["href"])
        head = f"PUT {href.path}?{href.query} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(head.encode() + bytes(size // 2))
            wait_until(lambda: any(incoming.iterdir()))
        wait_until(lambda: not any(incoming.iterdir()))
        assert not list(incoming.iterdir())


def test_what_is_not_what_it_should_be_is_refused(hub: Hub) -> None:
    data = noise(1000)
    href = batch(hub, hub.new_repo(), data)["upload"]["href"]
    with hub.http() as http:
        assert http.put(href, content=data[::-1]).status_code == 422  # another content
        assert http.put(href, content=data[:-1]).status_code == 400  # another size
        assert http.put(href, content=iter([data, data])).status_code == 413  # more than was said
        assert http.put(href.replace("signed=", "signed=x"), content=data).status_code == 403
        other = hashlib.sha256(b"other").hexdigest()
        assert (
            http.put(href.replace(hashlib.sha256(data).hexdigest(), other), content=data).status_code == 403
        )
        assert http.put(href, content=data).status_code == 200
    assert not list((hub.root / "blobs" / "incoming").iterdir())


def test_a_file_that_is_there_is_not_sent_again(hub: Hub) -> None:
    repo, data = hub.new_repo(), noise(1000)
    hub.api().create_commit(repo, [add("a.bin", data)], commit_message="m")
    assert batch(hub, repo, data) == {}
    assert batch(hub, hub.new_repo("bob"), data, who="bob") != {}  # he has to prove that he has it


def test_a_very_large_file_is_sent_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "ONE_PIECE", 1 << 20)
    monkeypatch.setattr(uploads, "PART", 1 << 19)
    data = noise((5 << 18) + 7)  # two and a half parts and a bit
    with in_thread(tmp_path / "store") as hub:
        repo = hub.new_repo()
        hub.api().create_commit(repo, [add("model.safetensors", data)], commit_message="m")
        assert hub.read(repo, "model.safetensors") == data
        assert not list((hub.root / "blobs" / "incoming").iterdir())


@pytest.fixture
def in_small_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub that takes 2,500 bytes in three parts, and 3,000 for pull requests."""
    monkeypatch.setattr(uploads, "ONE_PIECE", 1000)
    monkeypatch.setattr(uploads, "PART", 1000)
    with in_thread(tmp_path / "store", max_pull_request_bytes=3000) as hub:
        yield hub


def parts_of(hub: Hub, repo: str, data: bytes, who: str = "alice") -> tuple[list[str], str]:
    """Where the parts go, and what to call when they are there."""
    wanted = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
    with hub.http(who) as http:
        body = {"operation": "upload", "transfers": ["multipart"], "objects": [wanted]}
        found = http.post(f"/{repo}.git/info/lfs/objects/batch", json=body).json()
    upload = found["objects"][0]["actions"]["upload"]
    return [upload["header"][str(n)] for n in range(1, len(upload["header"]))], upload["href"]


def test_a_part_that_comes_late_does_not_change_the_file(in_small_parts: Hub) -> None:
    hub, data = in_small_parts, noise(2500)
    repo = hub.new_repo()
    parts, complete = parts_of(hub, repo, data)
    address, late = urlsplit(hub.endpoint), urlsplit(parts[0])
    with hub.http() as http, socket.create_connection((address.hostname, address.port)) as slow:
        for number, href in enumerate(parts):
            assert http.put(href, content=data[1000 * number :][:1000]).status_code == 200
        head = f"PUT {late.path}?{late.query} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        slow.sendall(head.encode())
        wait_until(lambda: len(list((hub.root / "blobs" / "incoming").iterdir())) == 4)
        assert http.post(complete).status_code == 200
        slow.sendall(b"E" * 1000)
        slow.recv(100)
        assert http.post(complete).status_code == 200  # as if the first answer got lost
    hub.api().create_commit(repo, [add("a.bin", data)], commit_message="m")
    assert hub.read(repo, "a.bin") == data
    assert not list((hub.root / "blobs" / "incoming").iterdir())


def test_an_upload_is_complete_when_all_its_parts_are_there(in_small_parts: Hub) -> None:
    hub, data = in_small_parts, noise(2500)
    parts, complete = parts_of(hub, hub.new_repo(), data)
    with hub.http() as http:
        for number in (0, 2):
            http.put(parts[number], content=data[1000 * number :][:1000])
        answer = http.post(complete)
        assert answer.status_code == 409 and "part 2 of 3 did not arrive" in answer.json()["error"]
        http.put(parts[1], content=bytes(1000))
        assert http.post(complete).status_code == 422  # all of it is sent again
        assert not list((hub.root / "blobs" / "incoming").iterdir())
        for number, href in enumerate(parts):
            http.put(href, content=data[1000 * number :][:1000])
        assert http.post(complete).status_code == 200


def test_parts_count_until_they_are_gone(in_small_parts: Hub) -> None:
    hub, one, other = in_small_parts, noise(2500), noise(2500)
    repo = hub.new_repo()
    first, complete = parts_of(hub, repo, one, "carol")
    second, _ = parts_of(hub, repo, other, "carol")
    with hub.http() as http:
        for number, href in enumerate(first):
            assert http.put(href, content=one[1000 * number :][:1000]).status_code == 200
        assert http.put(first[0], content=one[:1000]).status_code == 200  # again: in the place of the first
        assert http.put(second[0], content=other[:1000]).status_code == 413
        assert http.post(complete).status_code == 200
        assert http.put(second[0], content=other[:1000]).status_code == 413
        assert http.put(second[2], content=other[2000:]).status_code == 200


def test_whether_somebody_else_has_a_file_is_not_told(hub: Hub) -> None:
    data = noise(1000)
    with hub.http() as http:
        http.put(batch(hub, hub.new_repo(), data)["upload"]["href"], content=data)
        mine = batch(hub, hub.new_repo("bob"), data, who="bob")
        assert http.post(mine["verify"]["href"]).status_code == 404


@pytest.mark.parametrize("create_pr", [False, True])
def test_what_is_too_large_is_refused_before_it_is_sent(tmp_path: Path, create_pr: bool) -> None:
    limits = {"max_file_bytes": 2_000_000, "max_pull_request_bytes": 1_500_000}
    with in_thread(tmp_path / "store", **limits) as hub:
        repo, half = hub.new_repo(), noise(900_000)
        files = (
            [add("a.bin", half), add("b.bin", half + b"x")] if create_pr else [add("a.bin", noise(2_000_001))]
        )
        with pytest.raises(HfHubHTTPError, match="this Hub takes") as error:
            hub.api("bob" if create_pr else "alice").create_commit(
                repo, files, commit_message="m", create_pr=create_pr
            )
        assert error.value.response.status_code == 413
        assert "/preupload/" in str(error.value.response.url)
        assert not list((hub.root / "blobs").glob("??/*"))


def test_caps_hold_for_those_who_do_not_ask_first(tmp_path: Path) -> None:
    limits = {"max_file_bytes": 1_000_000, "max_pull_request_bytes": 1_500_000}
    with in_thread(tmp_path / "store", **limits) as hub:
        repo = hub.new_repo()
        assert batch(hub, repo, noise(1_000_001)) == {}  # an error in its place
        data = [noise(800_000), noise(800_000)]
        with hub.http("bob") as http:
            objects = [{"oid": hashlib.sha256(d).hexdigest(), "size": len(d)} for d in data]
            body = {"operation": "upload", "objects": objects}
            answer = http.post(f"/{repo}.git/info/lfs/objects/batch", json=body)
            assert (
                answer.status_code == 413 and "of the 1,500,000 for pull requests" in answer.json()["error"]
            )
            first = {**body, "objects": objects[:1]}
            found = http.post(f"/{repo}.git/info/lfs/objects/batch", json=first).json()
            http.put(found["objects"][0]["actions"]["upload"]["href"], content=data[0])
            second = {**body, "objects": objects[1:]}
            assert http.post(f"/{repo}.git/info/lfs/objects/batch", json=second).status_code == 413
