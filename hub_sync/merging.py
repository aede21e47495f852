"""Merging a pull request: file by file, against the newest commit that both sides come from."""

from __future__ import annotations

from dataclasses import dataclass

from dulwich.objects import ObjectID

from coldfusion.records import Revision
from hub_sync.gitrepo import GitRepo
from hub_sync.history import merge_base


@dataclass(frozen=True, slots=True)
class Merge:
    """What a merge would make."""

    files: dict[str, ObjectID]
    conflicts: tuple[str, ...]  # paths that both sides changed, each in its way


def merge(git: GitRepo, ours: Revision, theirs: Revision) -> Merge:
    """Their changes laid over our files. A path that both changed to different contents is a conflict."""
    common = merge_base(git, ours, theirs)
    before = git.files(common) if common else {}
    files, after, conflicts = dict(git.files(ours)), git.files(theirs), []
    for path in sorted(before.keys() | after.keys()):
        was, here, there = before.get(path), files.get(path), after.get(path)
        if was == there or here == there:
            continue
        if here != was:
            conflicts.append(path)
        elif there is None:
            del files[path]
        else:
            files[path] = there
    return Merge(files, tuple(conflicts))
