"""Rate limits, told in the headers that the client honours."""

import hashlib
import time
from pathlib import Path

import pytest
from huggingface_hub.errors import HfHubHTTPError

from hub_sync.server.failures import ApiError
from hub_sync.server.limits import Limiter
from tests.hub_sync.served import in_thread


def test_so_many_requests_in_a_window_and_five_times_the_downloads() -> None:
    now = [1000.0]
    limiter = Limiter(2, 300, lambda: now[0])  # windows start at 900 and at 1200
    assert limiter.take("alice", "api") == {
        "RateLimit": '"api";r=1;t=200',
        "RateLimit-Policy": '"fixed window";"api";q=2;w=300',
    }
    limiter.take("alice", "api")
    with pytest.raises(ApiError) as error:
        limiter.take("alice", "api")
    assert error.value.status == 429 and error.value.headers["RateLimit"] == '"api";r=0;t=200'
    assert limiter.take("bob", "api")["RateLimit"] == '"api";r=1;t=200'
    for _ in range(10):
        limiter.take("alice", "resolvers")
    now[0] = 1200.0
    assert limiter.take("alice", "api")["RateLimit"] == '"api";r=1;t=300'


def test_no_limit_is_no_header() -> None:
    assert Limiter(0, 300).take("alice", "api") == {}


def test_the_client_is_told_and_waits(tmp_path: Path) -> None:
    with in_thread(tmp_path / "store", rate_limit=4, rate_window=2) as hub:
        repo, start = hub.new_repo("bob"), time.time()
        with pytest.raises(HfHubHTTPError, match=r"0/4 requests remaining in current 2s window") as error:
            for _ in range(9):
                hub.api().repo_info(repo)
        assert error.value.response.status_code == 429
        for _ in range(9):  # more than two windows let through; lists wait as the headers say, and go on
            assert list(hub.api("bob").list_repo_tree(repo))
        assert time.time() - start > 1


def test_guesses_at_tokens_count_against_the_address(tmp_path: Path) -> None:
    with in_thread(tmp_path / "store", rate_limit=3, rate_window=300) as hub, hub.http() as http:
        guesses = [
            http.get("/api/whoami-v2", headers={"Authorization": f"Bearer guess-{n}"}).status_code
            for n in range(5)
        ]
    assert guesses == [401, 401, 401, 429, 429]


def test_what_this_hub_signed_counts_as_what_it_was_signed_for(tmp_path: Path) -> None:
    with in_thread(tmp_path / "store", rate_limit=2, rate_window=300) as hub, hub.http() as http:
        repo, data = hub.new_repo("bob"), b"data"
        wanted = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
        with hub.http("bob") as bob:
            body = {"operation": "upload", "objects": [wanted]}
            found = bob.post(f"/{repo}.git/info/lfs/objects/batch", json=body).json()["objects"][0]
        href = found["actions"]["upload"]["href"]
        answers = [http.put(href, content=data) for _ in range(11)]
        assert [answer.status_code for answer in answers] == [200] * 10 + [429]
        assert answers[0].headers["RateLimit"].startswith('"uploads";r=9')
        guesses = [http.put(f"/lfs/{'0' * 64}?signed=a.b", content=data).status_code for _ in range(11)]
        assert guesses == [403] * 10 + [429]


def test_a_download_is_what_is_one_and_not_what_is_called_so(tmp_path: Path) -> None:
    with in_thread(tmp_path / "store", rate_limit=9, rate_window=300) as hub, hub.http() as http:
        repo = hub.new_repo()
        kinds = [
            http.get(path).headers["RateLimit"].split(";")[0]
            for path in (f"/{repo}/resolve/main/a", f"/api/models/{repo}/tree/main/x%2Fresolve%2Fy")
        ]
    assert kinds == ['"resolvers"', '"api"']


def test_no_body_is_read_of_who_called_too_often(tmp_path: Path) -> None:
    with in_thread(tmp_path / "store", rate_limit=1, rate_window=300) as hub, hub.http() as http:
        large = bytes(5 << 20)
        answers = [http.post("/api/validate-yaml", content=large).status_code for _ in range(2)]
    assert answers == [413, 429]
