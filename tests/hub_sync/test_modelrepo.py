"""Models read where they are, over the real client, from a Hub of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from coldfusion.checkpoint import INDEX, Checkpoint
from coldfusion.errors import BaseError, HubError, HubUnavailable, NoAccess, NotOnHub
from coldfusion.offline.fusing import fuse_offline
from coldfusion.offline.recipes import Input, Recipe
from coldfusion.places import contents, part
from hub_sync import ranges
from hub_sync.huggingface import HuggingFaceHub
from hub_sync.huggingface.modelrepo import _PACER
from hub_sync.inputs import open_input, place_of
from hub_sync.ranges import Pieces
from hub_sync.retrying import Patience
from tests.cdn import Redirecting
from tests.chaos import ChaosProxy
from tests.coldfusion.test_checkpoint import sharded
from tests.helpers import finetuned, small_body, write_checkpoint
from tests.served import Served, token_of

ClientOf = Callable[[str], HuggingFaceHub]
BODY = small_body() | {"big": np.random.default_rng(0).normal(0, 0.02, (300, 1000)).astype(np.float32)}


@pytest.fixture(autouse=True)
def signed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", token_of("lab"))
    monkeypatch.setattr(ranges, "PIECE", 100_000)


def published(hub: HuggingFaceHub, folder: Path) -> str:
    """What names the model that these files are, once they are on the Hub."""
    hub.commit({path.name: path for path in folder.iterdir()}, message="a model", parent=None)
    return hub.address


@pytest.fixture
def lab(client_of: ClientOf) -> HuggingFaceHub:
    return client_of("lab")


@pytest.fixture
def model(lab: HuggingFaceHub, tmp_path: Path) -> Path:
    folder = write_checkpoint(tmp_path / "model", BODY)
    published(lab, folder)
    return folder


def assert_equal(remote: Checkpoint, folder: Path) -> None:
    with Checkpoint(folder) as local:
        assert remote.tensors == local.tensors
        for name in local.tensors:
            assert remote.read(name).tobytes() == local.read(name).tobytes()


def test_a_model_is_read_where_it_is_in_few_requests(lab: HuggingFaceHub, model: Path) -> None:
    before = _PACER.total
    with open_input(lab.address) as remote:
        assert_equal(remote, model)
        assert contents(remote.place, "config.json") == b"{}"
    assert _PACER.total - before == 1 + 1 + 13 + 1  # what main is, its files, 1.2 MB in pieces, config.json


def test_a_sharded_model_is_read_as_one(lab: HuggingFaceHub, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    address = published(lab, sharded(tmp_path / "x"))
    with open_input(address) as remote:
        assert len(remote.shards) == 2 and remote.index == (tmp_path / "x" / INDEX).read_bytes()
        assert_equal(remote, tmp_path / "x")


def test_a_revision_stays_what_it_was(lab: HuggingFaceHub, model: Path, tmp_path: Path) -> None:
    first = lab.head()
    lab.tag("v1", at=first)
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "other")
    lab.commit({"model.safetensors": tmp_path / "other"}, message="2", parent=first)
    for name in ("v1", first):
        with open_input(f"{lab.address}@{name}") as remote:
            assert_equal(remote, model)
    with open_input(lab.address) as remote:
        assert list(remote.tensors) == ["a"]


def test_digests_are_those_of_the_files(lab: HuggingFaceHub, model: Path) -> None:
    remote, local = place_of(lab.address), place_of(str(model))
    for name in ("model.safetensors", "config.json"):
        assert remote.sha256(name) == local.sha256(name)


def test_what_is_fused_over_the_wire_is_what_is_fused_here(
    client_of: ClientOf, lab: HuggingFaceHub, model: Path, tmp_path: Path
) -> None:
    inputs = [write_checkpoint(tmp_path / name, finetuned(BODY, seed)) for seed, name in enumerate("ab")]
    here = Recipe(str(model), tuple(Input(str(path)) for path in inputs))
    fuse_offline(here, tmp_path / "here")
    repos = [replace(lab, repo_id=f"{lab.repo_id}-{name}") for name in "ab"]
    addresses = [published(repo, path) for repo, path in zip(repos, inputs, strict=True)]
    named = tuple(Input(address, name=name) for address, name in zip(addresses, "ab", strict=True))
    fuse_offline(Recipe(lab.address, named), tmp_path / "wire", open_input=open_input)
    one, two = (tmp_path / where / "model.safetensors" for where in ("here", "wire"))
    assert one.read_bytes() == two.read_bytes()
    assert (tmp_path / "wire" / "config.json").read_text() == "{}"


def test_a_private_model_asks_for_a_token(
    client_of: ClientOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = replace(client_of("lab"), private=True)
    address = published(private, write_checkpoint(tmp_path / "model", small_body()))
    with open_input(address) as remote:
        assert_equal(remote, tmp_path / "model")
    monkeypatch.delenv("HF_TOKEN")
    refusal = r"reading main: no such repo, or it is private: run `hf auth login` or set HF_TOKEN$"
    with pytest.raises(NoAccess, match=refusal):
        open_input(address)
    monkeypatch.setenv("HF_TOKEN", token_of("alice"))
    with pytest.raises(NotOnHub, match="this token does not open it"):
        open_input(f"{address}@{private.head()}")


def test_a_model_without_weights_or_with_a_lost_shard_is_refused(lab: HuggingFaceHub, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    sharded(tmp_path / "x")
    (tmp_path / "x" / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(BaseError, match=r"00002-of-00002.safetensors: named in .*index.json, not there"):
        open_input(published(lab, tmp_path / "x"))
    other = replace(lab, repo_id=f"{lab.repo_id}-other")
    other.commit({"config.json": tmp_path / "x" / INDEX}, message="1", parent=None)
    with pytest.raises(BaseError, match="no model.safetensors"):
        open_input(other.address)


def test_what_is_neither_here_nor_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseError, match=r"no such directory or file; a model on the Hub is called org/name"):
        open_input(str(tmp_path / "no-such"))
    with pytest.raises(BaseError, match="no such directory"):
        open_input("one-word")


def test_what_is_here_goes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path / "org" / "name", small_body())
    monkeypatch.chdir(tmp_path)
    for text in ("org/name", "org/name/model.safetensors"):
        with open_input(text) as checkpoint:
            assert "embed" in checkpoint.tensors


@pytest.fixture
def redirecting(served: Served) -> Iterator[Callable[[int], Redirecting]]:
    made: list[Redirecting] = []

    def make(uses: int) -> Redirecting:
        made.append(Redirecting(served.url, token_of("lab"), uses=uses))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_signed_address_is_kept_and_the_token_stays_with_the_hub(
    lab: HuggingFaceHub, model: Path, redirecting: Callable[[int], Redirecting]
) -> None:
    hub = redirecting(1000)
    with open_input(f"{hub.url}/{lab.repo_id}") as remote:
        assert_equal(remote, model)
    assert not hub.leaked
    assert sum("hub" in line and "/resolve/" in line for line in hub.seen) == 1
    assert sum("store" in line for line in hub.seen) == 13


def test_a_signed_address_that_expired_is_asked_for_anew(
    lab: HuggingFaceHub, model: Path, redirecting: Callable[[int], Redirecting]
) -> None:
    hub = redirecting(3)
    with open_input(f"{hub.url}/{lab.repo_id}") as remote:
        assert_equal(remote, model)
    assert not hub.leaked
    assert len(hub.left) >= 13 / 3


def test_on_a_bad_day_the_bytes_are_the_same(
    lab: HuggingFaceHub, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "PIECE", 20_000)
    bad_day = ChaosProxy(lab.endpoint or "", rate=0.5, seed=2, hang=0.1)
    patience = Patience(attempts=30, sleep=lambda seconds: None)
    hub = replace(lab, endpoint=bad_day.url, patience=patience, timeout=5.0)
    file = hub.open("model.safetensors", at=lab.head(), pieces=Pieces(3))
    assert part(file, 0, file.size) == (model / "model.safetensors").read_bytes()
    bad_day.close()
    assert bad_day.faults["truncated"] >= 1 and bad_day.faults["lost"] >= 1


LIES: dict[str, tuple[int, dict[str, str], bytes, type[Exception], str]] = {
    "all of a large file": (200, {}, b"x" * 200_000, HubError, "does not answer Range requests"),
    "another range": (206, {"Content-Range": "bytes 5-14/20"}, b"x" * 10, HubUnavailable, "got bytes 5-14"),
    "less than it says": (
        206,
        {"Content-Range": "bytes 0-19/20"},
        b"x" * 10,
        HubUnavailable,
        "20 .* 10 came",
    ),
    "more than it says": (206, {"Content-Range": "bytes 0-19/20"}, b"x" * 50, HubUnavailable, "announced"),
    "no size": (206, {"Content-Range": "bytes 0-9/*"}, b"x" * 10, HubError, "does not answer Range"),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_hub_that_lies_about_ranges_is_found_out(
    lie: tuple[int, dict[str, str], bytes, type[Exception], str], client_of: ClientOf
) -> None:
    status, headers, data, kind, reason = lie

    class Liar(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Liar) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        hub = replace(client_of("lab"), endpoint=url, patience=Patience(attempts=1))
        with pytest.raises(kind, match=reason):
            hub.open("x", at="0" * 40, pieces=Pieces(3))
        server.shutdown()
