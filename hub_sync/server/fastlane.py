"""Large files past the web server: between the socket and the file, by one thread, inside the kernel.

Piece by piece through asyncio and h11, a byte is copied five times and every piece wakes the event loop; that
was two thirds of what an upload cost. Once the head of a request or of an answer is through and the length of
the rest is known, it is nothing but bytes, and a thread moves them, up with splice and down with sendfile.
After an upload the connection is closed, because h11 does not know what it missed. Not through TLS, where the
socket has other bytes than the file.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import cast

import anyio
import h11
from starlette.requests import ClientDisconnect, Request
from uvicorn.protocols.http.h11_impl import H11Protocol

from hub_sync.blobs import Incoming

LARGE = 8 << 20  # bytes; smaller bodies are not worth it
PIPE = 1 << 20  # bytes that are on their way from the socket to the file
STALLED = 60.0  # seconds without a byte after which the other side is given up
_lanes = anyio.CapacityLimiter(32)  # threads of their own, so that slow uploads leave the others for answers


class Protocol(H11Protocol):
    """uvicorn's own, which also tells the application what it is connected to."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "protocol": self}


def lane_of(request: Request, size: int | None) -> Protocol | None:
    """The connection through which so many bytes can be moved past the web server; None where they cannot."""
    protocol: Protocol | None = getattr(request.state, "protocol", None)
    if protocol is None or size is None or size < LARGE or not hasattr(os, "splice"):
        return None
    transport = protocol.transport
    plain = transport.get_extra_info("sslcontext") is None
    idle = not transport.is_closing() and not transport.get_write_buffer_size()
    return protocol if plain and idle and _lanes.available_tokens > 0 else None


async def receive(request: Request, protocol: Protocol, size: int, incoming: Incoming) -> None:
    """Append all `size` bytes of the body to a file, in a thread."""
    message = await request.receive()
    protocol.transport.pause_reading()  # nothing was read in between: the event loop has not run since
    if message["type"] != "http.request":
        raise ClientDisconnect
    first: bytes = message.get("body", b"")
    request.state.close = True
    await _in_lane(protocol, partial(_receive, first=first, left=size - len(first), incoming=incoming))


async def _in_lane(protocol: Protocol, move: Callable[[socket.socket], None]) -> None:
    connection = socket.socket(fileno=os.dup(protocol.transport.get_extra_info("socket").fileno()))
    connection.settimeout(STALLED)
    await anyio.to_thread.run_sync(_run, connection, move, limiter=_lanes, abandon_on_cancel=True)


def _run(connection: socket.socket, move: Callable[[socket.socket], None]) -> None:
    with connection:  # closed by the thread itself: an abandoned one must not go on with somebody else's
        move(connection)


def _receive(connection: socket.socket, *, first: bytes, left: int, incoming: Incoming) -> None:
    incoming.write(first)
    arriving = select.poll()
    arriving.register(connection, select.POLLIN)
    with _pipe() as (end, start):
        while left:
            try:
                count = os.splice(connection.fileno(), start, min(PIPE, left))
            except BlockingIOError:
                if not arriving.poll(STALLED * 1000):
                    raise ClientDisconnect from None
                continue
            except OSError as exc:
                raise ClientDisconnect from exc
            if not count:
                raise ClientDisconnect
            incoming.take(end, count)
            left -= count


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    end, start = os.pipe()
    try:
        with suppress(OSError):  # one person may have so many large pipes; a small one works too
            fcntl.fcntl(start, fcntl.F_SETPIPE_SZ, PIPE)
        yield end, start
    finally:
        os.close(end)
        os.close(start)


async def send(protocol: Protocol, path: Path, start: int, count: int) -> None:
    """Send `count` bytes of a file from `start` on, in a thread, and tell h11. Or cut the connection."""
    try:
        await _in_lane(protocol, partial(_send, path=path, start=start, count=count))
    except ClientDisconnect:
        protocol.transport.abort()
        await asyncio.sleep(0)  # in which uvicorn hears of it
    if not protocol.transport.is_closing():
        placeholder = cast("bytes", range(count))  # all that h11 asks of it is its length
        protocol.conn.send_with_data_passthrough(h11.Data(data=placeholder))


def _send(connection: socket.socket, *, path: Path, start: int, count: int) -> None:
    try:
        with path.open("rb", buffering=0) as file:
            sent = connection.sendfile(file, start, count)
    except OSError as exc:
        raise ClientDisconnect from exc
    if sent < count:
        raise ClientDisconnect
