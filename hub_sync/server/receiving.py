"""A request's body into a file of the store, in pieces: memory stays flat however large it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from hub_sync.server.failures import ApiError, too_large

BATCH = 1 << 20  # bytes that a thread writes at once
DRAIN = 1 << 26  # bytes of an unwanted body that are read, so that the client gets to read the answer


async def receive(request: Request, write: Callable[[bytes], None], *, most: int) -> int:
    """Hand the body to `write`, in another thread while the next piece arrives; its size. Raises ApiError."""
    size, writing = 0, asyncio.create_task(asyncio.sleep(0))
    try:
        async for batch in _batches(request):
            size += len(batch)
            if size > most:
                raise too_large(f"more than {most:,} bytes")
            await writing
            writing = asyncio.create_task(run_in_threadpool(write, batch))
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


async def _batches(request: Request) -> AsyncIterator[bytes]:
    pieces, size = [], 0
    async for piece in request.stream():
        pieces.append(piece)
        size += len(piece)
        if size >= BATCH:
            yield b"".join(pieces)
            pieces, size = [], 0
    if pieces:
        yield b"".join(pieces)


def check_length(request: Request, expected: int) -> None:
    """Refuse a body that says at once that it is not as large as it should be."""
    declared = request.headers.get("content-length")
    if declared is not None and declared != str(expected):
        raise ApiError(400, f"{declared} bytes are announced where {expected:,} are expected")
