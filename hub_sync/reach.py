"""Which blobs a repo's refs reach: what may be freed, and what a commit may point at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from dulwich.objects import ObjectID

from coldfusion.records import Revision
from hub_sync.gitrepo import GitRepo


class Reach:
    """Remembers what every tree holds: trees never change, so the second look at a repo is quick."""

    def __init__(self, git: Callable[[str], GitRepo]) -> None:
        self._git = git
        self._of_tree = lru_cache(maxsize=1 << 17)(self._look)

    def of_repo(self, key: str) -> set[str]:
        """The sha256 of every blob that any ref of a repo reaches."""
        git = self._git(key)
        heads = (git.ref(f"refs/{name}") for name in git.refs("refs/"))
        return self.of_heads(key, [head for head in heads if head])

    def of_heads(self, key: str, heads: Iterable[Revision]) -> set[str]:
        """The sha256 of every blob that these commits and all before them hold."""
        git, waiting, seen, found = self._git(key), list(heads), set[Revision](), set[str]()
        while waiting:
            revision = waiting.pop()
            if revision not in seen:
                seen.add(revision)
                facts = git.facts(revision)
                found |= self._of_tree(git, facts.tree)
                waiting += facts.parents
        return found

    def _look(self, git: GitRepo, tree: ObjectID) -> frozenset[str]:
        found = set[str]()
        for _, entry in git.folder(tree):
            if entry.is_folder:
                found |= self._of_tree(git, entry.sha)
            elif pointer := git.described(entry.sha)[1]:
                found.add(pointer.sha256)
        return frozenset(found)
