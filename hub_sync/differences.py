"""A unified diff of two commits, as large as anybody would read and no larger."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from dulwich.objects import ObjectID

from coldfusion.records import Revision
from hub_sync.gitrepo import GitRepo

MAX_FILE, MAX_LINES = 1 << 15, 1000  # bytes and lines of a file; comparing longer ones may take minutes
MAX_DIFF = 1 << 18  # characters


def diff(git: GitRepo, old: Revision, new: Revision) -> str:
    """What `new` has that `old` has not. Long and binary files are only named."""
    before, after, found, size = git.files(old), git.files(new), list[str](), 0
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            for line in _file(git, path, before.get(path), after.get(path)):
                size += len(line)
                if size > MAX_DIFF:
                    return "".join([*found, "... the rest is left out\n"])
                found.append(line)
    return "".join(found)


def _file(git: GitRepo, path: str, old: ObjectID | None, new: ObjectID | None) -> Iterator[str]:
    yield f"diff --git a/{path} b/{path}\n"
    sides = [_text(git, sha) for sha in (old, new)]
    names = [f"a/{path}" if old else "/dev/null", f"b/{path}" if new else "/dev/null"]
    if sides[0] is None or sides[1] is None:
        yield f"Binary files {names[0]} and {names[1]} differ\n"
        return
    before, after = sides[0].splitlines(keepends=True), sides[1].splitlines(keepends=True)
    if max(len(before), len(after)) > MAX_LINES:
        yield f"Files {names[0]} and {names[1]} differ\n"
        return
    for line in difflib.unified_diff(before, after, names[0], names[1]):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _text(git: GitRepo, sha: ObjectID | None) -> str | None:
    """Empty where there is no file, None where it is not to be shown; of a large file its pointer."""
    if sha is None:
        return ""
    size, pointer = git.described(sha)
    if size > MAX_FILE and not pointer:
        return None
    data = git.blob(sha)
    return None if b"\0" in data else data.decode(errors="replace")
