"""Before an upload: which files go to git, which are large, and which are larger than this Hub takes."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from dulwich.objects import ObjectID
from starlette.responses import JSONResponse, Response

from coldfusion.errors import HubError
from hub_sync.attributes import LargeFiles
from hub_sync.gitrepo import check_path
from hub_sync.pointers import Pointer
from hub_sync.server.call import Call
from hub_sync.server.failures import bad_request, too_large, unprocessable
from hub_sync.server.ignoring import Ignored
from hub_sync.server.routing import Need, Route

MOST = 1000  # files in one request; the client asks for 256


def preupload(call: Call) -> Response:
    """How each file is to be sent. A file of which the Hub has the same need not be sent at all."""
    body, revision = call.json(), call.revision()
    files = body.get("files")
    if not isinstance(files, list) or not all(isinstance(file, dict) for file in files):
        raise bad_request("'files' has to be a list of {path, sample, size}")
    if len(files) > MOST:
        raise too_large(f"{len(files):,} files at once: this Hub takes up to {MOST:,}")
    check_sizes(call, [size_of(file) for file in files])
    there = call.git.files(revision)
    large = LargeFiles.of(_text(call, there.get(".gitattributes")))
    ignored = Ignored(body.get("gitIgnore") or _text(call, there.get(".gitignore")))
    answers = [_answer(call, there, file, large) for file in files]
    for answer in answers:
        answer["shouldIgnore"] = ignored.has(answer["path"])
    return JSONResponse({"files": answers})


def check_sizes(call: Call, sizes: list[int]) -> None:
    """Refuse, before it is sent, what is larger than this Hub takes."""
    settings = call.service.settings
    if (largest := max(sizes, default=0)) > settings.max_file_bytes:
        raise too_large(
            f"a file of {largest:,} bytes: this Hub takes files up to {settings.max_file_bytes:,}"
        )
    if call.flag("create_pr"):
        check_pull_request_size(call, sum(sizes))


def check_pull_request_size(call: Call, size: int) -> None:
    """Anybody may open a pull request, and its files count against the repo's owner."""
    if size > (most := call.service.settings.max_pull_request_bytes):
        raise too_large(f"a pull request of {size:,} bytes: this Hub takes up to {most:,}")


def size_of(file: Mapping[str, Any]) -> int:
    """The size that a file is said to have. Raises ApiError."""
    size = file.get("size")
    if not isinstance(size, int) or size < 0:
        raise bad_request(f"{size!r} is not the size of a file")
    return size


def checked_path(path: object) -> str:
    """A path that can be in a repo. Raises ApiError.

    As on the Hub a backslash is a letter like any other, but for one that would lead out of the folder on
    Windows; the client refuses to download the rest there.
    """
    if not isinstance(path, str) or path.startswith("..\\"):
        raise unprocessable(f"path {path!r} cannot be on the Hub")
    try:
        check_path(path.replace("\\", "_"))
    except HubError as exc:
        raise unprocessable(f"path {path!r} cannot be on the Hub") from exc
    return path


def _answer(
    call: Call, there: Mapping[str, ObjectID], file: Mapping[str, Any], large: LargeFiles
) -> dict[str, Any]:
    path = checked_path(file.get("path"))
    is_large = large.has(path, size_of(file)) or Pointer.decode(_sample(file)) is not None
    found: dict[str, Any] = {"path": path, "uploadMode": "lfs" if is_large else "regular"}
    if sha := there.get(path):
        pointer = call.git.described(sha)[1]
        found["oid"] = pointer.sha256 if pointer else sha.decode()
    return found


def _sample(file: Mapping[str, Any]) -> bytes:
    try:
        return base64.b64decode(str(file.get("sample") or ""))
    except ValueError as exc:
        raise bad_request("'sample' is not base64") from exc


def _text(call: Call, sha: ObjectID | None) -> str:
    if sha is None or call.git.described(sha)[1]:
        return ""
    return call.git.blob(sha).decode(errors="replace")


ROUTES = [Route(method="POST", pattern="{api}/preupload/{revision}", handler=preupload, needs=Need.SPEAK)]
