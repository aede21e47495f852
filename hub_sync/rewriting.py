"""Taking large files out of a repo's whole past: every commit that held one is made anew without it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from coldfusion.records import Revision
from hub_sync.gitrepo import CommitFacts, GitRepo


def rewrite_without(git: GitRepo, doomed: AbstractSet[str]) -> dict[str, tuple[Revision, Revision]]:
    """Move every ref whose history held one of these blobs: ref -> (old, new). The caller holds the lock."""
    renewed: dict[Revision, Revision] = {}
    moved = {}
    for name in git.refs("refs/"):
        ref = f"refs/{name}"
        old = git.ref(ref)
        if old is None:
            continue
        for commit in reversed(list(git.history(old))):  # parents before children
            if commit.revision not in renewed:
                renewed[commit.revision] = _renew(git, commit, renewed, doomed)
        if renewed[old] != old:
            git.move(ref, old=old, new=renewed[old])
            moved[ref] = (old, renewed[old])
    return moved


def _renew(
    git: GitRepo, commit: CommitFacts, renewed: dict[Revision, Revision], doomed: AbstractSet[str]
) -> Revision:
    files = git.files(commit.revision)
    pointers = {path: git.described(sha)[1] for path, sha in files.items()}
    kept = {path: sha for path, sha in files.items() if not (p := pointers[path]) or p.sha256 not in doomed}
    parents = [renewed[parent] for parent in commit.parents]
    if kept == files and parents == list(commit.parents):
        return commit.revision
    return git.commit(kept, parents=parents, message=commit.message, author=commit.author, at=commit.time)
