"""conftest.py of the client's suite, whose own is not published: the fixtures that its tests ask for by name.

Written to be copied into the suite; ENDPOINT is replaced by the address of the Hub under test.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import HfApi, RepoUrl

from .rules import reason_to_leave_out
from .testing_constants import ENDPOINT_STAGING, TOKEN
from .testing_utils import repo_name

MODE = os.environ["CONFORMANCE_MODE"]
RepoFactory = Callable[..., RepoUrl]
reached: set[str] = set()  # tests that sent a request to the Hub
outcomes: dict[str, str] = {}
left_out: dict[str, str] = {}
running = {"test": ""}


@pytest.fixture(scope="session")
def api() -> HfApi:
    return HfApi(endpoint=ENDPOINT_STAGING, token=TOKEN)


@pytest.fixture
def repo_factory(api: HfApi) -> Iterator[RepoFactory]:
    """Makes repos that are gone after the test."""
    made: list[tuple[RepoUrl, str]] = []

    def make(
        repo_type: str | None = None, *, repo_id: str = "", token: str = TOKEN, **options: Any
    ) -> RepoUrl:
        name = repo_id or repo_name(prefix=repo_type or "repo")
        made.append((api.create_repo(name, repo_type=repo_type, token=token, **options), token))
        return made[-1][0]

    yield make
    for url, token in made:
        api.delete_repo(url.repo_id, repo_type=url.repo_type, token=token, missing_ok=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if reason := reason_to_leave_out(item.nodeid, {mark.name for mark in item.iter_markers()}, MODE):
            left_out[item.nodeid] = reason
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left_out])
    items[:] = [item for item in items if item.nodeid not in left_out]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    running["test"] = item.nodeid


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or not report.passed:
        worst = "failed" if report.failed or outcomes.get(report.nodeid) == "failed" else report.outcome
        outcomes[report.nodeid] = worst


def pytest_sessionfinish() -> None:
    found = {"outcomes": outcomes, "reached": sorted(reached), "left_out": left_out}
    Path(os.environ["CONFORMANCE_OUT"]).write_text(json.dumps(found))


def watch_requests() -> None:
    """Note which test is running whenever a request goes to the Hub."""
    send = httpx2.HTTPTransport.handle_request

    def watched(self: httpx2.HTTPTransport, request: httpx2.Request) -> httpx2.Response:
        if str(request.url).startswith(ENDPOINT_STAGING):
            reached.add(running["test"])
        return send(self, request)

    httpx2.HTTPTransport.handle_request = watched


watch_requests()
