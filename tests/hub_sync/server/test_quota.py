"""How much those who may only open pull requests may leave on the disk."""

import base64
import hashlib
import json
from collections.abc import Iterator

import pytest
from huggingface_hub.utils import httpx

from hub_sync.store import Store
from tests.hub_sync.served import Hub, in_thread, noise

CAP = 3000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with in_thread(tmp_path_factory.mktemp("small") / "store", max_pull_request_bytes=CAP) as hub:
        yield hub


@pytest.fixture
def repo(small: Hub) -> str:
    return small.new_repo()


@pytest.fixture
def carol(small: Hub) -> Iterator[httpx.Client]:
    """She has nothing uncommitted."""
    with Store(small.root).database.exclusive() as db:
        db.execute("DELETE FROM uploads")
    with small.http("carol") as http:
        yield http


def batch(http: httpx.Client, repo: str, data: bytes, size: int | None = None) -> httpx.Response:
    wanted = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data) if size is None else size}
    body = {"operation": "upload", "objects": [wanted]}
    return http.post(f"/{repo}.git/info/lfs/objects/batch", json=body)


def address(http: httpx.Client, repo: str, data: bytes) -> str:
    return str(batch(http, repo, data).json()["objects"][0]["actions"]["upload"]["href"])


def commit(http: httpx.Client, where: str, *lines: tuple[str, dict[str, object]]) -> httpx.Response:
    found = [("header", {"summary": "m"}), *lines]
    body = "\n".join(json.dumps({"key": key, "value": value}) for key, value in found)
    return http.post(f"/api/models/{where}", content=body)


def pointer(data: bytes) -> tuple[str, dict[str, object]]:
    return "lfsFile", {"path": "a.bin", "algo": "sha256", "oid": hashlib.sha256(data).hexdigest()}


def small_file(path: str, data: bytes) -> tuple[str, dict[str, object]]:
    return "file", {"path": path, "content": base64.b64encode(data).decode()}


def test_addresses_that_were_signed_for_the_same_room_do_not_give_it_twice(
    repo: str, carol: httpx.Client
) -> None:
    one, other = noise(2000), noise(2000)
    addresses = [address(carol, repo, data) for data in (one, other)]
    assert carol.put(addresses[0], content=one).status_code == 200
    assert carol.put(addresses[0], content=one).status_code == 200  # its answer may get lost
    assert carol.put(addresses[1], content=other).status_code == 413
    assert batch(carol, repo, one).json()["objects"][0].keys() == {
        "oid",
        "size",
    }  # a client that starts again


def test_what_is_sent_at_once_counts_before_it_is_there(repo: str, carol: httpx.Client, small: Hub) -> None:
    one, other = noise(2000), noise(2000)
    addresses, statuses = [address(carol, repo, data) for data in (one, other)], []

    def slowly() -> Iterator[bytes]:
        yield one[:1000]
        with small.http() as http:
            statuses.append(http.put(addresses[1], content=other).status_code)
        yield one[1000:]

    assert carol.put(addresses[0], content=slowly()).status_code == 200
    assert statuses == [413]


def test_what_breaks_off_does_not_count(repo: str, carol: httpx.Client) -> None:
    data = noise(2000)
    href = address(carol, repo, data)
    for wrong, status in ((data[::-1], 422), (data[:-1], 400), (data[::-1], 422)):
        assert carol.put(href, content=wrong).status_code == status
    assert carol.put(href, content=data).status_code == 200


def test_a_file_has_the_size_that_it_has_whatever_the_client_says(repo: str, carol: httpx.Client) -> None:
    one, other = noise(2000), noise(2000)
    assert carol.put(address(carol, repo, one), content=one).status_code == 200
    assert batch(carol, repo, one, size=0).status_code == 200
    assert batch(carol, repo, other).status_code == 413


def test_a_pull_request_cannot_grow_by_replacing_its_files(repo: str, carol: httpx.Client) -> None:
    files = [noise(1300) for _ in range(3)]
    statuses = []
    for where, data in zip(
        (f"{repo}/commit/main?create_pr=1", *[f"{repo}/commit/refs%2Fpr%2F1"] * 2), files, strict=True
    ):
        carol.put(address(carol, repo, data), content=data)
        statuses.append(commit(carol, where, pointer(data)).status_code)
    assert statuses == [200, 200, 413]


def test_small_files_count_too(repo: str, carol: httpx.Client, small: Hub) -> None:
    where = f"{repo}/commit/main?create_pr=1"
    assert commit(carol, where, small_file("a.txt", bytes(CAP + 1))).status_code == 413
    assert commit(carol, where, small_file("a.txt", bytes(2000))).status_code == 200
    assert commit(carol, where, small_file("a.txt", bytes(2001))).status_code == 413  # for a day
    with small.http("alice") as owner:
        assert commit(owner, f"{repo}/commit/main", small_file("a.txt", bytes(2 * CAP))).status_code == 200


def test_of_a_commit_that_is_refused_nothing_goes_to_git(repo: str, carol: httpx.Client, small: Hub) -> None:
    git = small.root / "repos" / f"{repo}.git" / "objects"
    before, line = sorted(git.rglob("*")), small_file("a.txt", noise(500))
    where = f"{repo}/commit/main?create_pr=1"
    for wrong in (
        ("bogus", {}),
        pointer(b"not uploaded"),
        small_file("../a", b""),
        small_file("b", bytes(CAP)),
    ):
        assert commit(carol, where, line, wrong).status_code in (400, 413, 422)
    assert sorted(git.rglob("*")) == before
