"""Which blobs a repo's refs reach: what may be freed, and what a commit may point at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from dulwich.objects import ObjectID

from coldfusion.records import Revision
from hub_sync.gitrepo import GitRepo


class Reach:
    """Remembers what every folder holds: folders never change, so the second look at a repo is quick.

    Nothing here calls itself: a stranger decides how deep the folders of a pull request are.
    """

    def __init__(self, git: Callable[[str], GitRepo]) -> None:
        self._git = git
        self._in_folder = lru_cache(maxsize=1 << 17)(self._look)

    def of_repo(self, key: str) -> set[str]:
        """The sha256 of every blob that any ref of a repo reaches."""
        git = self._git(key)
        heads = (git.ref(f"refs/{name}") for name in git.refs("refs/"))
        return self.of_heads(key, [head for head in heads if head])

    def of_heads(self, key: str, heads: Iterable[Revision]) -> set[str]:
        """The sha256 of every blob that these commits and all before them hold."""
        git, waiting, seen, trees = self._git(key), list(heads), set[Revision](), set[ObjectID]()
        while waiting:
            revision = waiting.pop()
            if revision not in seen:
                seen.add(revision)
                facts = git.facts(revision)
                trees.add(facts.tree)
                waiting += facts.parents
        return self._below(git, trees)

    def _below(self, git: GitRepo, trees: set[ObjectID]) -> set[str]:
        waiting, seen, found = list(trees), set(trees), set[str]()
        while waiting:
            blobs, folders = self._in_folder(git, waiting.pop())
            found |= blobs
            new = folders - seen
            seen |= new
            waiting += new
        return found

    def _look(self, git: GitRepo, tree: ObjectID) -> tuple[frozenset[str], frozenset[ObjectID]]:
        """The blobs that are in a folder itself, and the folders in it."""
        entries = [entry for _, entry in git.folder(tree)]
        pointers = (git.described(entry.sha)[1] for entry in entries if not entry.is_folder)
        blobs = frozenset(pointer.sha256 for pointer in pointers if pointer)
        return blobs, frozenset(entry.sha for entry in entries if entry.is_folder)
