"""The command: what it says, what it refuses, how it ends."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import httpx

from coldfusion import cli
from hub_sync.store import MARK, Store
from tests.hub_sync.served import TOKENS, Hub, add, in_process, in_thread, noise, populate

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command line here: (exit code, what it printed, its errors)."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["coldfusion", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture
def refused(command: Command) -> Callable[..., str]:
    """The one line of a command that ends with exit code 2."""

    def run(*words: str | Path) -> str:
        code, out, errors = command(*words)
        assert (code, out) == (2, ""), errors
        (line,) = errors.splitlines()
        return line

    return run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_and_ends_cleanly(tmp_path: Path, number: int) -> None:
    with in_process(tmp_path / "store") as (hub, server):
        assert hub.endpoint.startswith("http://127.0.0.1:")
        with hub.http() as http:
            assert http.get("/api/models").json() == []
        server.send_signal(number)
        assert server.wait(timeout=15) == 0
        assert server.stdout is not None and server.stdout.read() == "coldfusion serve: stopped\n"


def test_what_it_cannot_serve_is_one_line_and_exit_code_2(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    store, other = tmp_path / "store", tmp_path / "other"
    Store(store)
    other.mkdir()
    (other / "file").touch()
    assert "other is not a local store" in refused("serve", other)
    assert "is not a local store" in refused("users", "list", other / "file")
    assert "https needs both" in refused("serve", store, "--tls-cert", other / "file")
    assert "there is no file" in refused(
        "serve", store, "--tls-cert", tmp_path / "c", "--tls-key", tmp_path / "k"
    )
    assert "'everywhere' is no network" in refused("serve", store, "--webhooks-to", "everywhere")
    assert "'hub' is no http(s) address" in refused("serve", store, "--public-url", "hub")
    tls = ("--tls-cert", other / "file", "--tls-key", other / "file")
    assert "cannot serve https" in refused("serve", store, *tls)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in refused(
            "serve", store, "--port", port
        )
    (store / MARK).write_text("no database" * 1000)
    assert "file is not a database" in refused("serve", store)


def test_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*make, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    populate(tmp_path / "store")
    tls = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with in_process(tmp_path / "store", *tls) as (hub, _):
        assert hub.endpoint.startswith("https://")
        context = ssl.create_default_context(cafile=certificate)
        raw = socket.create_connection(("127.0.0.1", int(hub.endpoint.rsplit(":", 1)[1])))
        with raw, context.wrap_socket(raw, server_hostname="localhost") as secure:
            secure.sendall(b"GET /api/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert secure.recv(1000).startswith(b"HTTP/1.1 200")


def test_users_come_and_go_while_it_runs_and_no_token_is_stored(hub: Hub, command: Command) -> None:
    _, made, _ = command(
        "users", "add", hub.root, "erin", "--fullname", "Erin", "--org", "lab", "--role", "read"
    )
    token = made.split("token (shown only now): ")[1].strip()
    api = HfApi(endpoint=hub.endpoint, token=token)
    assert api.whoami()["fullname"] == "Erin" and [org["name"] for org in api.whoami()["orgs"]] == ["lab"]
    _, listed, _ = command("users", "list", hub.root)
    assert "erin" in listed and "Erin" in listed and token not in listed
    for file in hub.root.glob(f"{MARK}*"):
        assert token.encode() not in file.read_bytes() and TOKENS["alice"].encode() not in file.read_bytes()
    assert command("users", "remove", hub.root, "erin") == (0, "erin is gone\n", "")
    with pytest.raises(HfHubHTTPError, match="Invalid"):
        api.whoami()
    code, _, errors = command("users", "remove", hub.root, "erin")
    assert code == 2 and "no user 'erin'" in errors


@pytest.mark.parametrize(
    "words, reason",
    [
        (["a b"], "nobody can be called 'a b'"),
        (["datasets"], "nobody can be called 'datasets'"),
        (["lab"], "'lab' is an org"),
        (["zoe", "--org", "alice"], "'alice' is a user"),
        (["zoe", "--role", "king"], "no role 'king'; known: read, write, admin"),
        (["zoe", "--token", "short"], "a token is 16 ASCII characters or more"),
        (["zoe", "--token", TOKENS["alice"]], "belongs to somebody else"),
    ],
)
def test_users_that_cannot_be(hub: Hub, refused: Callable[..., str], words: list[str], reason: str) -> None:
    assert reason in refused("users", "add", hub.root, *words)


def test_a_kill_in_the_middle_of_an_upload_leaves_nothing_half_written(tmp_path: Path) -> None:
    root = tmp_path / "store"
    populate(root)
    with in_process(root) as (hub, server):
        repo = hub.new_repo()
        kept = hub.api().create_commit(repo, [add("a.bin", noise(1000))], commit_message="m").oid
        hub.api("bob").create_commit(repo, [add("d.bin", noise(1000))], commit_message="mine", create_pr=True)
        wanted = {"operation": "upload", "objects": [{"oid": "1" * 64, "size": 1 << 30}]}
        with hub.http("alice") as http:
            found = http.post(f"/{repo}.git/info/lfs/objects/batch", json=wanted).json()
            href = found["objects"][0]["actions"]["upload"]["href"]

            def half() -> Iterator[bytes]:
                yield bytes(1 << 22)
                while not list((root / "blobs" / "incoming").iterdir()):
                    time.sleep(0.01)
                server.kill()
                while True:
                    yield bytes(1 << 22)

            with pytest.raises(httpx.TransportError):
                http.put(href, content=half(), headers={"Content-Length": str(1 << 30)})
    with in_process(root) as (hub, _):
        api = hub.api()
        assert api.repo_info(repo).sha == kept and len(hub.read(repo, "a.bin")) == 1000
        assert [d.num for d in api.get_repo_discussions(repo)] == [1]
        assert hub.read(repo, "d.bin", "refs/pr/1")
        api.create_commit(repo, [add("b.bin", noise(1000))], commit_message="m", parent_commit=kept)


def test_a_full_disk_is_a_507_and_nothing_is_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lfs: None
) -> None:
    full = Path("/dev/full")  # refuses every byte, as a full disk does
    with in_thread(tmp_path / "store") as hub, full.open("wb", buffering=0) as file:
        repo, api = hub.new_repo(), hub.api()
        with monkeypatch.context() as patch, pytest.raises(RuntimeError) as error:
            patch.setattr("hub_sync.blobs.os.fdopen", lambda handle, *_, **__: (os.close(handle), file)[1])
            api.create_commit(repo, [add("a.bin", noise(1000))], commit_message="m")
        cause = error.value.__cause__
        assert isinstance(cause, HfHubHTTPError) and cause.response.status_code == 507
        assert "The disk of this Hub is full; nothing was written" in str(cause)
        assert not list((hub.root / "blobs" / "incoming").iterdir())
        assert api.list_repo_files(repo) == [".gitattributes"]
