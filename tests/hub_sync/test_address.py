"""From what a user types to a Hub, and from a pull request to where people find it."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldfusion.errors import NotOnHub
from hub_sync.address import open_hub, proposal_address, repo_name
from hub_sync.huggingface import HuggingFaceHub
from hub_sync.local import LocalHub


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_path_or_a_file_url_is_a_local_store(form: str, tmp_path: Path) -> None:
    root = tmp_path / "a store"
    LocalHub(root)
    hub = open_hub(form.format(root))
    assert isinstance(hub, LocalHub) and hub.root == root
    assert proposal_address(hub, 3) == f"{hub.address} pull request #3"


def test_a_folder_that_is_no_store_is_made_one_only_where_that_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(NotOnHub, match="no local store there"):
        open_hub(str(tmp_path / "store"))
    assert not (tmp_path / "store").exists()
    assert isinstance(open_hub(str(tmp_path / "store"), create=True), LocalHub)


def test_a_name_is_on_the_hub_and_an_http_url_names_its_endpoint() -> None:
    assert isinstance(open_hub("lab/fed"), HuggingFaceHub)
    hub = open_hub("http://hub.lab.example:8000/lab/fed")
    assert isinstance(hub, HuggingFaceHub)
    assert (hub.endpoint, hub.repo_id) == ("http://hub.lab.example:8000", "lab/fed")
    assert proposal_address(hub, 12) == "http://hub.lab.example:8000/lab/fed/discussions/12"


def test_a_repo_is_called_by_its_name_wherever_it_is_reached(tmp_path: Path) -> None:
    store = tmp_path / "store"
    reached = [open_hub("http://localhost:8000/lab/fed"), LocalHub(store, repo_id="lab/fed"), LocalHub(store)]
    assert [repo_name(hub) for hub in reached] == ["lab/fed", "lab/fed", None]
