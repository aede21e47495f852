"""The shapes in which several routes answer: times, files, pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from dulwich.objects import ObjectID
from starlette.responses import JSONResponse, Response

from hub_sync.gitrepo import CommitFacts, Entry, GitRepo
from hub_sync.server.call import Call

PAGE = 1000  # items of a list in one answer


def when(seconds: float) -> str:
    """A time as the client parses it."""
    moment = datetime.fromtimestamp(seconds, tz=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def sibling(git: GitRepo, path: str, sha: ObjectID, *, blobs: bool) -> dict[str, Any]:
    """A file in a repo's description."""
    if not blobs:
        return {"rfilename": path}
    size, pointer = git.described(sha)
    found: dict[str, Any] = {"rfilename": path, "size": size, "blobId": sha.decode()}
    if pointer:
        length = len(pointer.encode())
        found["lfs"] = {"sha256": pointer.sha256, "size": pointer.size, "pointerSize": length}
    return found


def tree_item(git: GitRepo, path: str, entry: Entry, last: CommitFacts | None) -> dict[str, Any]:
    """A file or a folder in a listing; with the commit that changed it last where that was asked for."""
    found: dict[str, Any] = {"type": "file", "oid": entry.sha.decode(), "size": 0, "path": path}
    if entry.is_folder:
        found["type"] = "directory"
    else:
        found["size"], pointer = git.described(entry.sha)
        if pointer:
            length = len(pointer.encode())
            found["lfs"] = {"oid": pointer.sha256, "size": pointer.size, "pointerSize": length}
    if last:
        found["lastCommit"] = {"id": last.revision, "title": last.title, "date": when(last.time)}
    return found


def next_page(call: Call, items: Sequence[Any], *, size: int = PAGE) -> Response:
    """One page of a list, with the link to the next; ?cursor= says how many came before."""
    start = call.count("cursor")
    headers = {}
    if start + size < len(items):
        others = [(k, v) for k, v in call.request.query_params.multi_items() if k != "cursor"]
        query = urlencode([*others, ("cursor", start + size)])
        path = call.request.scope["raw_path"].decode("latin-1")
        headers["Link"] = f'<{call.endpoint}{path}?{query}>; rel="next"'
    return JSONResponse(list(items[start : start + size]), headers=headers)
