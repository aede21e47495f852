"""A commit's body, line by line: what is added, pointed at, deleted. Memory does not grow with it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from dulwich.objects import ObjectID

from hub_sync.pointers import Pointer
from hub_sync.server.call import Call
from hub_sync.server.failures import ApiError, bad_request, too_large
from hub_sync.server.possession import Possession
from hub_sync.server.preupload import checked_path
from hub_sync.server.quota import note_upload

MAX_LINE = 16 << 20  # bytes: one file that goes to git, in base64


@dataclass(slots=True)
class Changes:
    """What a commit is to do. The files are in the store already, where nobody sees them yet."""

    summary: str = ""
    description: str = ""
    parent: str | None = None  # as the client gave it: 5 to 40 digits
    files: dict[str, ObjectID] = field(default_factory=dict)
    pointed_at: dict[str, int] = field(default_factory=dict)  # sha256 -> bytes of every blob
    deleted: list[str] = field(default_factory=list)  # files or folders

    @property
    def message(self) -> str:
        return f"{self.summary}\n\n{self.description}" if self.description else self.summary


def read_changes(call: Call, body: Path) -> Changes:
    """What the lines say. Raises ApiError."""
    changes, theirs = Changes(), Possession(call)
    with body.open("rb") as lines:
        for key, value in _lines(lines):
            if key == "header":
                changes.summary = str(value.get("summary") or "")
                changes.description = str(value.get("description") or "")
                changes.parent = value.get("parentCommit")
            elif key in ("file", "lfsFile"):
                add = _add_file if key == "file" else _add_pointer
                add(call, theirs, changes, value)
            elif key in ("deletedFile", "deletedFolder"):
                changes.deleted.append(checked_path(str(value.get("path", "")).rstrip("/")))
            else:
                raise bad_request(f"a commit has no lines with the key {key!r}")
    if not changes.summary.strip():
        raise bad_request("a commit needs a header line with a summary")
    if changes.parent is not None and not isinstance(changes.parent, str):
        raise bad_request(f"{changes.parent!r} is no commit id")
    return changes


def laid_over(call: Call, files: dict[str, ObjectID], changes: Changes) -> dict[str, ObjectID]:
    """The files of a commit after the changes. Raises ApiError where one to be deleted is not there."""
    found = dict(files)
    for gone in changes.deleted:
        below = [path for path in found if path == gone or path.startswith(f"{gone}/")]
        if not below:
            raise ApiError(404, f"cannot delete {gone!r}: it is not there", code="EntryNotFound")
        for path in below:
            del found[path]
    for path in changes.files:
        for upper in _above(path):
            if upper in found and upper not in changes.files:
                raise bad_request(f"{upper!r} is a file, so there can be no {path!r}")
    return found | changes.files


def _lines(body: IO[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    while line := body.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise too_large(
                f"a file of more than {MAX_LINE * 3 // 4:,} bytes has to be uploaded as a large one"
            )
        if line.strip():
            try:
                found = json.loads(line)
                yield str(found["key"]), dict(found["value"])
            except (ValueError, KeyError, TypeError, RecursionError) as exc:
                raise bad_request(f"a line of the commit is not {{key, value}}: {exc!r}") from exc


def _add_file(call: Call, theirs: Possession, changes: Changes, value: dict[str, Any]) -> None:
    path = checked_path(value.get("path"))
    if value.get("encoding", "base64") != "base64":
        raise bad_request(f"{path}: encoding {value['encoding']!r} is not base64")
    try:
        data = base64.b64decode(str(value.get("content")), validate=True)
    except ValueError as exc:
        raise bad_request(f"{path}: the content is not base64") from exc
    if Pointer.decode(data):  # in git it would be a pointer, to a file that its author need not have
        with call.service.store.blobs.receive() as incoming:
            incoming.write(data)
            note_upload(call.service, incoming.sha256(), call.person.name, len(data))
            data = Pointer(incoming.keep(), len(data)).encode()
    changes.files[path] = call.git.add(data)


def _add_pointer(call: Call, theirs: Possession, changes: Changes, value: dict[str, Any]) -> None:
    path, oid = checked_path(value.get("path")), str(value.get("oid"))
    if value.get("algo", "sha256") != "sha256" or len(oid) != 64 or not oid.isalnum():
        raise bad_request(f"{path}: {oid!r} is not a sha256")
    if not theirs.has(oid):
        raise bad_request(f"{path}: the file {oid} was not uploaded, or too long ago: upload it again")
    size = call.service.store.blobs.path(oid).stat().st_size
    changes.pointed_at[oid] = size
    changes.files[path] = call.git.add(Pointer(oid, size).encode())


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
