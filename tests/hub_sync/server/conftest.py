"""One Hub for all these tests, as a process of its own, talked to by the real client over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants, set_client_factory
from huggingface_hub.utils._http import default_client_factory

from tests.hub_sync.served import Hub, in_process, populate

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:  # the client's own way to send a file
            item.add_marker(pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning"))


@pytest.fixture(autouse=True)
def stock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client as it comes: other tests run with HF_HUB_OFFLINE=1, and some with a session that waits."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    set_client_factory(default_client_factory)


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    root = tmp_path_factory.mktemp("hub") / "store"
    populate(root)
    with in_process(root, "--webhooks-to", "127.0.0.1") as (found, _):
        yield found


@pytest.fixture
def lfs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upload through Git LFS instead of Xet."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
