"""Git objects that no ref reaches: freed after a day, because somebody may be about to commit them.

Rejected commits, deleted pull requests and squashed histories leave them behind. Only loose objects, which is
all that this store writes.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from dulwich.objects import ObjectID

from coldfusion.errors import NotOnHub, writing
from coldfusion.records import Revision
from hub_sync.blobs import ABANDONED
from hub_sync.database import Database
from hub_sync.gitrepo import GitRepo

AT_ONCE = 10_000  # objects that are freed while others wait for the store's lock
_FOLDER, _NAME = re.compile("[0-9a-f]{2}"), re.compile("[0-9a-f]{38}|tmp_obj_.*")
_STATE = "pruned"  # in the repo's folder: what there was when everything was looked at last


def prune(git: GitRepo, database: Database) -> None:
    """Free what is old and reached by nothing, unless nothing changed since the last time.

    A repo in which something is missing, or to which refs were written in a way that is not ours, is left
    as it is.
    """
    if not (git.path / "packed-refs").exists():
        with suppress(NotOnHub, FileNotFoundError):
            _prune(git, database, before=time.time() - ABANDONED)


def _prune(git: GitRepo, database: Database, *, before: float) -> None:
    heads = _heads(git)
    old = [path for path in _loose(git) if _time(path) < before]
    marker = git.path / _STATE
    if marker.exists() and marker.read_text() == _state(heads, len(old)):
        return
    reached = set[bytes]()
    _reach(git, heads.values(), reached)
    doomed = [path for path in old if _id(path) not in reached]
    for start in range(0, len(doomed), AT_ONCE):
        with database.exclusive(), writing(git.path):
            _reach(git, _heads(git).values(), reached)  # what was committed since the first look
            _free(git, doomed[start : start + AT_ONCE], reached, before)
    with writing(git.path):
        marker.write_text(_state(heads, len(old) - len(doomed)))


def is_there(git: GitRepo, sha: ObjectID) -> bool:
    """Whether an object can still be committed."""
    name = sha.decode()
    if (git.path / "objects" / name[:2] / name[2:]).exists():
        return True
    with suppress(NotOnHub):
        git.blob(sha)
        return True
    return False


def _free(git: GitRepo, doomed: Iterable[Path], reached: set[bytes], before: float) -> None:
    for path in doomed:
        if _id(path) not in reached and _time(path) < before:  # not what somebody adds again just now
            path.unlink(missing_ok=True)
    for remembered in (git.facts, git.described, git.entries, git.folder):
        remembered.cache_clear()


def _reach(git: GitRepo, heads: Iterable[Revision], reached: set[bytes]) -> None:
    """Add every object that these commits and all before them hold. Raises NotOnHub."""
    commits = list(heads)
    while commits:
        revision = commits.pop()
        if revision.encode() not in reached:
            facts = git.facts(revision)
            _reach_tree(git, facts.tree, reached)
            reached.add(revision.encode())
            commits += facts.parents


def _reach_tree(git: GitRepo, tree: ObjectID, reached: set[bytes]) -> None:
    trees = [tree]
    while trees:
        if (sha := trees.pop()) not in reached:
            reached.add(sha)
            for _, entry in git.folder(sha):
                if entry.is_folder:
                    trees.append(entry.sha)
                else:
                    reached.add(entry.sha)


def _state(heads: Mapping[str, Revision], old: int) -> str:
    return "\n".join([f"{old} old objects", *sorted(f"{head} {ref}" for ref, head in heads.items())])


def _heads(git: GitRepo) -> dict[str, Revision]:
    heads = {name: git.ref(f"refs/{name}") for name in git.refs("refs/")}
    return {name: head for name, head in heads.items() if head}


def _loose(git: GitRepo) -> Iterator[Path]:
    for folder in (git.path / "objects").iterdir():
        if _FOLDER.fullmatch(folder.name):
            yield from (path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def _id(path: Path) -> bytes:
    return (path.parent.name + path.name).encode()


def _time(path: Path) -> float:
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return float("inf")
