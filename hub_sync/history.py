"""Questions about a repo's past: what changed a path last, what two commits have in common."""

from __future__ import annotations

from collections.abc import Iterable

from coldfusion.records import Revision
from hub_sync.gitrepo import CommitFacts, GitRepo


def last_changes(git: GitRepo, revision: Revision, paths: Iterable[str]) -> dict[str, CommitFacts]:
    """For each path the newest commit, along the first parents, that made it what it is."""
    here, found = git.entries(revision), dict[str, CommitFacts]()
    waiting = {path for path in paths if path in here}
    commit = git.facts(revision)
    while waiting:
        before = git.entries(commit.parents[0]) if commit.parents else {}
        changed = {path for path in waiting if before.get(path) != here[path]}
        found |= dict.fromkeys(changed, commit)
        waiting -= changed
        if commit.parents:
            commit = git.facts(commit.parents[0])
    return found


def merge_base(git: GitRepo, ours: Revision, theirs: Revision) -> Revision | None:
    """The newest commit that both come from."""
    known = {commit.revision for commit in git.history(ours)}
    return next((commit.revision for commit in git.history(theirs) if commit.revision in known), None)


def is_reached(git: GitRepo, revision: Revision, heads: Iterable[Revision]) -> bool:
    """Whether one of the heads is this commit or comes from it."""
    waiting, seen = list(heads), set[Revision]()
    while waiting:
        found = waiting.pop()
        if found == revision:
            return True
        if found not in seen:
            seen.add(found)
            waiting += git.facts(found).parents
    return False
