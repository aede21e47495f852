"""Large uploads past the web server: from the socket into the file, by one thread, through two buffers.

Piece by piece through asyncio and h11, a byte is copied five times and every piece wakes the event loop; that
was two thirds of what an upload cost. Once the head of a request is read and its length is known, the rest of
it is nothing but bytes, and a thread reads them. The connection is closed after that, because h11 does not
know what it missed. Not through TLS, where the socket has other bytes than the request.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from functools import partial

import anyio
from starlette.requests import ClientDisconnect, Request
from uvicorn.protocols.http.h11_impl import H11Protocol

LARGE = 8 << 20  # bytes; smaller bodies are not worth it
PIECE = 1 << 20  # bytes of each of two buffers
STALLED = 60.0  # seconds without a byte after which an uploader is given up
_lanes = anyio.CapacityLimiter(32)  # threads of their own, so that slow uploads leave the others for answers


class Protocol(H11Protocol):
    """uvicorn's own, which also tells the application what it is connected to."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


def lane_of(request: Request, size: int | None) -> asyncio.Transport | None:
    """What a body of so many bytes can be read from past the web server; None where it cannot."""
    transport: asyncio.Transport | None = getattr(request.state, "transport", None)
    free = size is not None and size >= LARGE and _lanes.available_tokens > 0
    plain = transport is not None and transport.get_extra_info("sslcontext") is None
    return transport if free and plain else None


async def receive(
    request: Request, transport: asyncio.Transport, size: int, write: Callable[..., None]
) -> None:
    """Hand all `size` bytes of the body to `write`, in a thread."""
    message = await request.receive()
    transport.pause_reading()  # nothing was read in between: the event loop has not run since
    if message["type"] != "http.request":
        raise ClientDisconnect
    first: bytes = message.get("body", b"")
    request.state.close = True
    connection = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    with connection:
        connection.settimeout(STALLED)
        copy = partial(_copy, connection, first, size - len(first), write)
        await anyio.to_thread.run_sync(copy, limiter=_lanes, abandon_on_cancel=True)


def _copy(connection: socket.socket, first: bytes, left: int, write: Callable[..., None]) -> None:
    write(first)
    buffers = [memoryview(bytearray(PIECE)) for _ in range(2)]  # one is hashed while the other is filled
    while left:
        buffer, filled = buffers[0][: min(PIECE, left)], 0
        while filled < len(buffer):
            try:
                count = connection.recv_into(buffer[filled:])
            except OSError as exc:
                raise ClientDisconnect from exc
            if not count:
                raise ClientDisconnect
            filled += count
        write(buffer)
        left -= filled
        buffers.reverse()
