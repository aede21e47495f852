"""Whether somebody may put a large file into a repo without sending it.

Knowing the sha256 of a file is not having it: who does not see it in this repo has to have uploaded it, or
the files of private repos could be had by anybody who learns their hash.
"""

from __future__ import annotations

from functools import cached_property

from hub_sync.server.call import Call


class Possession:
    """The blobs that a caller may point at in one repo."""

    def __init__(self, call: Call) -> None:
        self._store, self._repo, self._user = call.service.store, call.repo.key, call.person.name

    def has(self, sha256: str) -> bool:
        """Whether this blob is here, and the caller has it or sees it in this repo."""
        here = self._store.blobs.has(sha256)
        return here and (sha256 in self.uploaded or sha256 in self._in_repo)

    @cached_property
    def uploaded(self) -> set[str]:
        """What the caller uploaded and did not commit yet."""
        with self._store.database.connection() as db:
            rows = db.execute("SELECT sha256 FROM uploads WHERE user = ?", (self._user,))
            return {row["sha256"] for row in rows}

    @cached_property
    def _in_repo(self) -> set[str]:
        return self._store.reach.of_repo(self._repo)
