"""A commit's body, line by line: what is added, pointed at, deleted. Memory does not grow with it.

It is read twice: all of it is understood and found to be allowed before the first file goes to git, because
what is in git and in no commit lies there for a day.
"""

from __future__ import annotations

import base64
import json
import re
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
MAX_OPERATIONS = 25_000  # in one commit
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(slots=True)
class Changes:
    """What a commit is to do."""

    summary: str = ""
    description: str = ""
    parent: str | None = None  # as the client gave it: 5 to 40 digits
    added: dict[str, int | Pointer] = field(default_factory=dict)  # where the line begins, or a large file
    small: int = 0  # bytes of all files that go to git
    pointed_at: dict[str, int] = field(default_factory=dict)  # sha256 -> bytes of every blob
    deleted: list[str] = field(default_factory=list)  # files or folders

    @property
    def message(self) -> str:
        return f"{self.summary}\n\n{self.description}" if self.description else self.summary


def read_changes(call: Call, body: Path, *, most_small: int) -> Changes:
    """What the lines say, of which no file is kept yet. Raises ApiError."""
    changes, theirs = Changes(), Possession(call)
    with body.open("rb") as lines:
        for count, (start, key, value) in enumerate(_lines(lines)):
            if count > MAX_OPERATIONS:
                raise too_large(f"this Hub takes up to {MAX_OPERATIONS:,} changes in one commit")
            if key == "header":
                changes.summary = str(value.get("summary") or "")
                changes.description = str(value.get("description") or "")
                changes.parent = value.get("parentCommit")
            elif key == "file":
                path, data = _file(value)
                changes.added[path] = start
                changes.small += len(data)
            elif key == "lfsFile":
                path, pointer = _pointer(call, theirs, value)
                changes.added[path] = pointer
                changes.pointed_at[pointer.sha256] = pointer.size
            elif key in ("deletedFile", "deletedFolder"):
                changes.deleted.append(checked_path(str(value.get("path", "")).rstrip("/")))
            else:
                raise bad_request(f"a commit has no lines with the key {key!r}")
            if changes.small > most_small:
                raise too_large(f"from you this Hub takes up to {most_small:,} bytes of small files at once")
    if not changes.summary.strip():
        raise bad_request("a commit needs a header line with a summary")
    if changes.parent is not None and not isinstance(changes.parent, str):
        raise bad_request(f"{changes.parent!r} is no commit id")
    return changes


def add_files(call: Call, body: Path, changes: Changes) -> dict[str, ObjectID]:
    """Put the files where a commit can find them, and nobody sees them before there is one."""
    files = {}
    with body.open("rb") as lines:
        for path, what in changes.added.items():
            if isinstance(what, int):
                lines.seek(what)
                _, _, value = next(_lines(lines))
                files[path] = call.git.add(_kept(call, _file(value)[1]))
            else:
                files[path] = call.git.add(what.encode())
    return files


def laid_over(
    files: dict[str, ObjectID], added: dict[str, ObjectID], deleted: list[str]
) -> dict[str, ObjectID]:
    """The files of a commit after the changes. Raises ApiError where one to be deleted is not there."""
    gone = set(deleted)
    found = {path: sha for path, sha in files.items() if path not in gone}
    if folders := gone - files.keys():
        inside = {path: uppers for path in files if (uppers := folders.intersection(above(path)))}
        if missing := folders.difference(*inside.values()):
            name = next(path for path in deleted if path in missing)
            raise ApiError(404, f"cannot delete {name!r}: it is not there", code="EntryNotFound")
        found = {path: sha for path, sha in found.items() if path not in inside}
    for path in added:
        for upper in above(path):
            if upper in found and upper not in added:
                raise bad_request(f"{upper!r} is a file, so there can be no {path!r}")
    return found | added


def _lines(body: IO[bytes]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """(where it begins, key, value) of each line. Raises ApiError."""
    end = body.tell()
    while line := body.readline(MAX_LINE + 1):
        start, end = end, end + len(line)
        if len(line) > MAX_LINE:
            raise too_large(
                f"a file of more than {MAX_LINE * 3 // 4:,} bytes has to be uploaded as a large one"
            )
        if line.strip():
            try:
                found = json.loads(line)
                key, value = str(found["key"]), dict(found["value"])
            except (ValueError, KeyError, TypeError, RecursionError) as exc:
                raise bad_request(f"a line of the commit is not {{key, value}}: {exc!r}") from exc
            yield start, key, value


def _file(value: dict[str, Any]) -> tuple[str, bytes]:
    path = checked_path(value.get("path"))
    if value.get("encoding", "base64") != "base64":
        raise bad_request(f"{path}: encoding {value['encoding']!r} is not base64")
    try:
        return path, base64.b64decode(str(value.get("content")), validate=True)
    except ValueError as exc:
        raise bad_request(f"{path}: the content is not base64") from exc


def _kept(call: Call, data: bytes) -> bytes:
    """What git holds for a small file: where it would read like a pointer, one to a blob of its own.

    As it is it would be a pointer to a file that its author need not have.
    """
    if not Pointer.decode(data):
        return data
    with call.service.store.blobs.receive() as incoming:
        incoming.write(data)
        note_upload(call.service, incoming.sha256(), call.person.name, len(data))
        return Pointer(incoming.keep(), len(data)).encode()


def _pointer(call: Call, theirs: Possession, value: dict[str, Any]) -> tuple[str, Pointer]:
    path, oid = checked_path(value.get("path")), str(value.get("oid"))
    if value.get("algo", "sha256") != "sha256" or not _SHA256.fullmatch(oid):
        raise bad_request(f"{path}: {oid!r} is not a sha256")
    if not theirs.has(oid):
        raise bad_request(f"{path}: the file {oid} was not uploaded, or too long ago: upload it again")
    return path, Pointer(oid, call.service.store.blobs.path(oid).stat().st_size)


def above(path: str) -> Iterator[str]:
    """a/b/c -> a, a/b"""
    return (path[: slash.start()] for slash in re.finditer("/", path))
