"""Large files through Git LFS, and how large they may be."""

import hashlib
import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from huggingface_hub.errors import HfHubHTTPError

from hub_sync.server import fastlane, uploads
from tests.hub_sync.served import Hub, add, in_thread, noise

pytestmark = pytest.mark.usefixtures("lfs")


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.time() + 10
    while not condition():
        assert time.time() < end
        time.sleep(0.01)


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
