"""Files over plain HTTP, whole or from somewhere on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hub_sync.server import fastlane
from hub_sync.server.access import require_contents
from hub_sync.server.call import Call
from hub_sync.server.failures import ApiError, no_entry
from hub_sync.server.routing import Route

PIECE = 1 << 20  # bytes read at once
_RANGE = re.compile("bytes=([0-9]*)-([0-9]*)")
_MOST = 18  # digits of a number that may be the size of a file


def resolve(call: Call) -> Response:
    """The file at a path of a revision. Without X-Xet-Hash every client downloads it as it is."""
    require_contents(call.service, call.caller, call.repo)
    revision, path = call.revision(), call.params["path"]
    headers = {"X-Repo-Commit": revision, "Accept-Ranges": "bytes"}
    sha = call.git.files(revision).get(path)
    if sha is None:
        raise no_entry(path, headers)
    size, pointer = call.git.described(sha)
    if pointer and not call.service.store.blobs.has(pointer.sha256):
        raise no_entry(path, headers)
    headers |= {
        "ETag": f'"{pointer.sha256 if pointer else sha.decode()}"',
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(path.rsplit('/', 1)[-1], safe='')}",
        "Content-Type": "application/octet-stream",
        "X-Content-Type-Options": "nosniff",  # strangers' files never become pages of this Hub
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if pointer:
        headers |= {"X-Linked-Size": str(size), "X-Linked-Etag": headers["ETag"]}
    start, end, status = _part(call, size, headers)
    headers["Content-Length"] = str(end - start)
    if call.request.method == "HEAD" or start == end:
        return Response(status_code=status, headers=headers)
    if not pointer:
        return Response(call.git.blob(sha)[start:end], status_code=status, headers=headers)
    blob = call.service.store.blobs.path(pointer.sha256)
    return _File(blob, start, end, status_code=status, headers=headers)


def _part(call: Call, size: int, headers: dict[str, str]) -> tuple[int, int, int]:
    """(first byte, last byte + 1, status) of what is asked for. Raises ApiError."""
    found = _RANGE.fullmatch(call.request.headers.get("range", ""))
    expected = call.request.headers.get("if-range")
    if not found or found[0] == "bytes=-" or (expected and expected != headers["ETag"]):
        return 0, size, 200
    first, last = (_number(text) if text else None for text in found.groups())
    start = first if first is not None else max(size - (last or 0), 0)
    end = size if first is None or last is None else min(last + 1, size)
    if start >= size or end <= start:
        headers["Content-Range"] = f"bytes */{size}"
        raise ApiError(416, f"no bytes {found[0][:50]} in a file of {size:,}", headers=headers)
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return start, end, 206


def _number(digits: str) -> int:
    """Past the end of any file where there are more digits than a size can have."""
    return int(digits) if len(digits) <= _MOST else 10**_MOST


class _File(Response):
    """A part of a blob: from the disk to the connection inside the kernel where that is possible."""

    def __init__(self, path: Path, start: int, end: int, **options: Any) -> None:
        super().__init__(**options)
        self._path, self._start, self._size = path, start, end - start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if protocol := fastlane.lane_of(Request(scope), self._size):
            await fastlane.send(protocol, self._path, self._start, self._size)
        else:
            await self._send(send)
        await send({"type": "http.response.body"})

    async def _send(self, send: Send) -> None:
        left = self._size
        with await run_in_threadpool(self._path.open, "rb", buffering=0) as file:
            await run_in_threadpool(file.seek, self._start)
            while left and (piece := await run_in_threadpool(file.read, min(PIECE, left))):
                left -= len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})


ROUTES = [
    Route(method="GET", pattern="{web}/resolve/{revision}/{path}", handler=resolve, kind="resolvers"),
]
