"""Files over plain HTTP."""

import socket
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from huggingface_hub import get_hf_file_metadata, hf_hub_url, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, RevisionNotFoundError

from hub_sync.server import fastlane
from tests.hub_sync.served import TOKENS, Hub, add, in_thread, noise, wait_until


@pytest.fixture(scope="module")
def large() -> bytes:
    return noise(3_000_000)


@pytest.fixture(scope="module")
def repo(hub: Hub, large: bytes) -> str:
    """One large and one small file on main, and a pull request with one more."""
    repo = hub.new_repo()
    operations = [add("model.safetensors", large), add("notes/ä b.txt", b"0123456789")]
    hub.api().create_commit(repo, operations, commit_message="m")
    hub.api("bob").create_commit(repo, [add("delta.bin", b"delta")], commit_message="mine", create_pr=True)
    return repo


@pytest.fixture(scope="module", autouse=True)
def online_for_the_module() -> object:
    from huggingface_hub import constants

    patch = pytest.MonkeyPatch()
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield
    patch.undo()


def test_what_was_uploaded_is_what_is_downloaded(hub: Hub, repo: str, large: bytes) -> None:
    assert hub.read(repo, "model.safetensors") == large
    assert hub.read(repo, "notes/ä b.txt") == b"0123456789"


def test_the_head_tells_revision_size_and_digest_and_nothing_of_xet(hub: Hub, repo: str) -> None:
    url = hf_hub_url(repo, "model.safetensors", endpoint=hub.endpoint)
    found = get_hf_file_metadata(url, token=TOKENS["bob"], endpoint=hub.endpoint)
    (info,) = hub.api().get_paths_info(repo, "model.safetensors")
    assert (found.commit_hash, found.etag) == (hub.api().repo_info(repo).sha, info.lfs.sha256)
    assert (found.size, found.xet_file_data) == (3_000_000, None)


@pytest.mark.parametrize(
    "asked, status, first, end",
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=5-", 206, 5, 10),
        ("bytes=-3", 206, 7, 10),
        ("bytes=-30", 206, 0, 10),
        ("bytes=2-99", 206, 2, 10),
        ("bytes=2-" + "9" * 5000, 206, 2, 10),
        ("bytes=0-1,4-5", 200, 0, 10),  # several at once: the whole, which is allowed
        ("bytes=-", 200, 0, 10),
        ("lines=1-2", 200, 0, 10),
    ],
)
def test_a_part_of_a_file(hub: Hub, repo: str, asked: str, status: int, first: int, end: int) -> None:
    with hub.http() as http:
        answer = http.get(f"/{repo}/resolve/main/notes%2F%C3%A4%20b.txt", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (status, b"0123456789"[first:end])
    if status == 206:
        assert answer.headers["Content-Range"] == f"bytes {first}-{end - 1}/10"


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=7-3", "bytes=-0", f"bytes={'9' * 5000}-"])
def test_a_part_that_is_not_there_is_a_416(hub: Hub, repo: str, asked: str) -> None:
    with hub.http() as http:
        answer = http.get(f"/{repo}/resolve/main/notes/%C3%A4%20b.txt", headers={"Range": asked})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */10")


def test_a_download_goes_on_where_it_broke_off(hub: Hub, repo: str, large: bytes) -> None:
    with hub.http() as http:
        url = f"/{repo}/resolve/main/model.safetensors"
        etag = http.head(url).headers["ETag"]
        rest = http.get(url, headers={"Range": "bytes=2000000-", "If-Range": etag})
        other = http.get(url, headers={"Range": "bytes=2000000-", "If-Range": '"another"'})
    assert (rest.status_code, rest.content) == (206, large[2_000_000:])
    assert (other.status_code, other.content) == (200, large)


def test_a_part_of_a_large_file_and_then_more_over_the_same_connection(hub: Hub) -> None:
    repo, data = hub.new_repo(), noise(fastlane.LARGE + 12_345)
    hub.api().create_commit(repo, [add("model.safetensors", data)], commit_message="m")
    connection = HTTPConnection(urlsplit(hub.endpoint).netloc)
    connection.connect()
    opened = connection.sock
    for start in (0, 345, 12_345, 12_346):  # the last is too little to be sent past the web server
        connection.request(
            "GET", f"/{repo}/resolve/main/model.safetensors", headers={"Range": f"bytes={start}-"}
        )
        assert connection.getresponse().read() == data[start:]
    assert connection.sock is opened
    connection.close()


def test_somebody_who_goes_away_in_the_middle_is_let_go(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = noise(4 * fastlane.LARGE)
    with in_thread(tmp_path / "store") as hub:
        repo = hub.new_repo()
        hub.api().create_commit(repo, [add("model.safetensors", data)], commit_message="m")
        url = urlsplit(f"{hub.endpoint}/{repo}/resolve/main/model.safetensors")
        with socket.create_connection((url.hostname, url.port)) as connection:
            connection.sendall(f"GET {url.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            wait_until(lambda: fastlane._lanes.borrowed_tokens == 1)
            assert connection.recv(100)
        wait_until(lambda: fastlane._lanes.borrowed_tokens == 0)
        assert hub.read(repo, "model.safetensors") == data
    assert not caplog.records


def test_a_snapshot_of_a_pull_request(hub: Hub, repo: str, tmp_path: Path) -> None:
    options = {"token": TOKENS["alice"], "endpoint": hub.endpoint, "cache_dir": tmp_path}
    found = Path(snapshot_download(repo, revision="refs/pr/1", **options))
    assert (found / "delta.bin").read_bytes() == b"delta"
    assert found.name == hub.api().repo_info(repo, revision="refs/pr/1").sha


def test_what_is_not_there_is_told_apart(hub: Hub, repo: str) -> None:
    with pytest.raises(EntryNotFoundError):
        hub.api().hf_hub_download(repo, "nothing.txt")
    with pytest.raises(RevisionNotFoundError):
        hub.api().hf_hub_download(repo, "model.safetensors", revision="nowhere")


def test_strangers_files_are_no_pages_of_this_hub(hub: Hub, repo: str) -> None:
    hub.api().create_commit(repo, [add("a.html", b"<script>")], commit_message="m")
    with hub.http() as http:
        headers = http.get(f"/{repo}/resolve/main/a.html").headers
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["X-Content-Type-Options"] == "nosniff" and "sandbox" in headers["Content-Security-Policy"]


def test_a_name_that_no_header_can_have_is_told_all_the_same(hub: Hub, repo: str) -> None:
    with hub.http() as http:
        answer = http.get(f"/{repo}/resolve/main/a%00%7F%C3%A4%0Ab")
    assert (answer.status_code, answer.headers["X-Error-Message"]) == (404, "Entry not found: a??? b")
