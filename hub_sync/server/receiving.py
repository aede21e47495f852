"""A request's body into a file of the store, in pieces: memory stays flat however large it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from hub_sync.blobs import BATCH, Incoming
from hub_sync.server import fastlane
from hub_sync.server.failures import too_large

DRAIN = 1 << 26  # bytes of an unwanted body that are read, so that the client gets to read the answer


async def receive(request: Request, incoming: Incoming, *, most: int) -> int:
    """Append the body to a file, in a thread while the next pieces arrive; its size. Raises ApiError."""
    size = announced(request)
    if size is not None and size > most:
        raise too_large(f"{size:,} bytes where at most {most:,} are taken")
    if (protocol := fastlane.lane_of(request, size)) and size is not None:
        await fastlane.receive(request, protocol, size, incoming)
        return size
    return await _receive_slowly(request, incoming, most=most)


def announced(request: Request) -> int | None:
    """The size that a body is said to have."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


async def _receive_slowly(request: Request, incoming: Incoming, *, most: int) -> int:
    size, writing = 0, asyncio.create_task(asyncio.sleep(0))
    try:
        async for batch in _batches(request):
            size += sum(map(len, batch))
            if size > most:
                raise too_large(f"more than {most:,} bytes")
            await writing
            writing = asyncio.create_task(run_in_threadpool(incoming.write, *batch))
    finally:
        await writing
    return size


async def drain(request: Request) -> None:
    """Read a body that nobody wants, up to a limit."""
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > DRAIN:
            return


async def _batches(request: Request) -> AsyncIterator[list[bytes]]:
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        pieces.append(piece)
        size += len(piece)
        if size >= BATCH:
            yield pieces
            pieces, size = [], 0
    yield pieces
