"""Where payloads may go, how long it may take, and that nothing ends the telling."""

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_network

import pytest

from hub_sync import delivering, webhooks
from hub_sync.delivering import Refused, checked_url, may_reach, post
from hub_sync.webhooks import Webhook

HERE = (ip_network("127.0.0.1"),)


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[bytes]]]:
    """An address that takes one request at a time, and what it was sent."""
    told: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    told.append(connection.recv(65536))
                    answer(connection)

        threading.Thread(target=run, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/hook?a=b", told
        listener.shutdown(socket.SHUT_RDWR)


def fine(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *(
            "::1",
            "fe80::1",
            "fc00::1",
            "::",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "224.0.0.1",
        ),
    ],
)
def test_what_is_not_public_is_out_of_reach(address: str) -> None:
    assert not may_reach(address, ())


def test_public_addresses_and_those_that_the_operator_named_are_reached() -> None:
    assert may_reach("8.8.8.8", ()) and may_reach("2606:4700::1111", ())
    assert may_reach("10.1.2.3", (ip_network("10.0.0.0/8"),)) and may_reach("::ffff:127.0.0.1", HERE)


def test_a_payload_arrives_where_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # not to be used
    with answering(fine) as (url, told):
        post(url, b"{}", secret="psst", allowed=HERE)
        with pytest.raises(Refused):
            post(url, b"{}", secret="psst", allowed=())
        with pytest.raises(Refused):
            post(url.replace("127.0.0.1", "localhost"), b"{}", secret="psst", allowed=())
    assert len(told) == 1 and told[0].startswith(b"POST /hook?a=b HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nX-Webhook-Secret: psst\r\n" in told[0] and told[0].endswith(b"\r\n\r\n{}")


def test_a_redirect_is_not_followed() -> None:
    with answering(fine) as (other, reached):

        def elsewhere(connection: socket.socket) -> None:
            connection.sendall(f"HTTP/1.1 307 There\r\nLocation: {other}\r\n\r\n".encode())

        with answering(elsewhere) as (url, _), pytest.raises(OSError, match="307"):
            post(url, b"{}", secret="", allowed=HERE)
    assert not reached


def test_an_answer_in_drops_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "PATIENCE", 0.3)

    def drip(connection: socket.socket) -> None:
        for _ in range(20):
            time.sleep(0.1)
            try:
                connection.sendall(b"H")
            except OSError:
                return

    start = time.monotonic()
    with answering(drip) as (url, _), pytest.raises(TimeoutError):
        post(url, b"{}", secret="", allowed=HERE)
    assert time.monotonic() - start < 1.0


@pytest.mark.parametrize(
    "url",
    ["http://[", "http://a b/", "http://ä/", "http://", "ftp://a", "http://u:p@a/", "http://a:99999/", 7],
)
def test_what_is_no_address_is_told(url: object) -> None:
    with pytest.raises(ValueError):
        checked_url(url)


def test_nothing_that_one_address_does_keeps_the_others_from_being_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hub_sync.webhooks.time.sleep", lambda _: None)
    waiting: queue.Queue[tuple[Webhook, bytes]] = queue.Queue()
    tried: list[str] = []

    def broken_for_some(url: str, body: bytes, **_: object) -> None:
        tried.append(url)
        if url != "http://good/":
            raise RuntimeError("what nobody thought of")

    monkeypatch.setattr(webhooks, "post", broken_for_some)
    line = webhooks._Line(waiting, ())
    threading.Thread(target=line.deliver, daemon=True).start()
    for url in ("http://bad/", "http://bad/", "http://good/"):
        known = {"id": "1", "user": "alice", "secret": ""}
        waiting.put((Webhook(url=url, watched=[], domains=[], **known), b"{}"))
    ends = time.monotonic() + 5
    while "http://good/" not in tried and time.monotonic() < ends:
        time.sleep(0.01)
    assert tried == ["http://bad/"] * webhooks.TRIES + ["http://good/"]  # after that the bad one rests
