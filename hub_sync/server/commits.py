"""Commits: onto a branch, onto a pull request, or as a new pull request. All or nothing."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from dulwich.objects import ObjectID
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from coldfusion.errors import writing
from coldfusion.records import Revision
from hub_sync.discussions import Discussion, add_discussion, add_event, count_events
from hub_sync.gitrepo import is_ref_name
from hub_sync.history import is_reached
from hub_sync.pruning import is_there
from hub_sync.server.access import may_write, require_write
from hub_sync.server.call import Call
from hub_sync.server.events import tell, tell_discussion
from hub_sync.server.failures import STALE, ApiError, bad_request, forbidden, no_revision
from hub_sync.server.operations import Changes, above, add_files, laid_over, read_changes
from hub_sync.server.preupload import check_pull_request_size
from hub_sync.server.quota import UNLIMITED, cap_of, reserve
from hub_sync.server.receiving import drain, receive
from hub_sync.server.routing import Need, Route
from hub_sync.texts import is_text

MOST_FOLDERS = 10_000  # that one commit may write to; each is a file of its own on the disk
MAX_BODY = 1 << 29  # bytes: the small files of one commit in base64, on the disk
MOST_EVENTS = 1000  # of one discussion, from others than the repo's writers
MAX_SMALL = 1 << 26  # bytes of all small files that go to git at once, from those who may not write
Files = dict[str, ObjectID]


async def commit(call: Call) -> Response:
    """Take the body to the disk, then do what it says."""
    try:
        await run_in_threadpool(_check_rights, call)
    except ApiError:
        await drain(call.request)
        raise
    with call.service.store.blobs.receive(hashed=False) as incoming:
        await receive(call.request, incoming, most=MAX_BODY)
        return await run_in_threadpool(_take, call, incoming.path)


def _check_rights(call: Call) -> None:
    """Whoever may read opens pull requests; their authors add to them; the rest is for writers."""
    if call.flag("create_pr"):
        require_open_for_discussion(call)
        return
    ref = _target(call)
    if ref.startswith("refs/pr/"):
        about = call.service.store.discussions.get(call.repo.key, int(ref.removeprefix("refs/pr/")))
        _require_open(about)
        if about.author.lower() == call.person.name.lower():
            return
    require_write(call.caller, call.repo)


def _require_open(about: Discussion) -> None:
    if not about.is_open:
        raise forbidden(f"pull request #{about.number} is {about.status}: nothing can be added to it")


def require_open_for_discussion(call: Call) -> None:
    """The owner of a repo may turn discussions and pull requests off. Raises ApiError."""
    if call.repo.discussions_disabled and not may_write(call.caller, call.repo):
        raise forbidden(f"discussions and pull requests are disabled for {call.repo.id}")


def require_calm(call: Call, db: sqlite3.Connection, about: Discussion) -> None:
    """A discussion is read as a whole, so only those who may close it have the last word. Raises ApiError."""
    if count_events(db, about) >= MOST_EVENTS and not may_write(call.caller, call.repo):
        raise forbidden(
            f"#{about.number} has {MOST_EVENTS} comments and changes, which is enough for one discussion"
        )


class _Trees:
    """The folders that a commit makes, by what it is laid over: written once, and before the lock is held."""

    def __init__(self, call: Call, changes: Changes, added: Files) -> None:
        self._call, self.changes, self.added = call, changes, added
        self._written: dict[Revision, ObjectID] = {}

    def over(self, base: Revision) -> ObjectID:
        """Raises ApiError where the changes are none that can be made there."""
        git = self._call.git
        if base not in self._written:
            self._written[base] = git.add_tree(laid_over(git.files(base), self.added, self.changes.deleted))
        return self._written[base]

    def prepare(self, head: Revision | None) -> None:
        """For where the branch is now. If it moves before we hold the lock, little is lost."""
        parent, git = self.changes.parent, self._call.git
        if self._call.flag("create_pr") and parent is not None:
            start = git.expand(parent)
            is_good = start is not None and _is_published(self._call, start)
        else:
            start, is_good = head, head is not None and (parent is None or _is(parent, head))
        if start and is_good:
            self.over(start)


def _take(call: Call, body: Path) -> Response:
    """Understand all of it, find it allowed, and only then put the first file into git."""
    cap = cap_of(call)
    changes = read_changes(call, body, most_small=MAX_BODY if cap == UNLIMITED else min(cap, MAX_SMALL))
    _check_texts(changes)
    if call.flag("create_pr"):
        check_pull_request_size(call, sum(changes.pointed_at.values()) + changes.small)
    elif changes.parent and (head := call.git.ref(_target(call))) and not _is(changes.parent, head):
        raise ApiError(412, STALE)
    if changes.small:  # also what comes to nothing lies in git for a day, and so long it counts
        reserve(call.service, call.person.name, cap, changes.small, instead_of="", kind="git/")
    with writing(call.service.store.root):
        added = add_files(call, body, changes)
    return _commit(call, _Trees(call, changes, added))


def _check_texts(changes: Changes) -> None:
    if not is_text(changes.message):
        raise bad_request("the summary or the description of the commit cannot be written as UTF-8")
    folders = set[str]()
    for path in changes.added:
        folders.update(above(path))
        if len(folders) > MOST_FOLDERS:
            raise bad_request(f"a commit writes to {MOST_FOLDERS:,} folders at most")


def _commit(call: Call, trees: _Trees) -> Response:
    changes, added = trees.changes, trees.added
    ref, store = _target(call), call.service.store
    trees.prepare(call.git.ref(ref))
    with call.alone() as db:
        _check_rights(call)  # once more: the body may have taken hours
        head = call.git.ref(ref)
        if head is None:
            raise no_revision(call.params["revision"])
        _check_there(call, changes, added)
        act = _open if call.flag("create_pr") else _advance
        about, new = act(call, db, trees, ref, head)
        for sha256 in changes.pointed_at:
            mine = "DELETE FROM uploads WHERE sha256 = ? AND user = ?"
            db.execute(mine, (sha256, call.person.name))
    if changes.pointed_at:
        store.spaces.close(call.person.name, call.repo.key)
    answer = {"success": True, "commitUrl": f"{call.url(call.repo)}/commit/{new}", "commitOid": new}
    if call.flag("create_pr") and about:
        answer["pullRequestUrl"] = f"{call.url(call.repo)}/discussions/{about.number}"
        tell(call, call.repo, "update", "repo.content", moved=[(f"refs/pr/{about.number}", None, new)])
        tell_discussion(call, about, "create")
    else:
        tell(call, call.repo, "update", "repo.content", moved=[(ref, head, new)])
    return JSONResponse(answer)


def _advance(
    call: Call, db: sqlite3.Connection, trees: _Trees, ref: str, head: Revision
) -> tuple[Discussion | None, Revision]:
    """One more commit on a branch or a pull request."""
    changes = trees.changes
    if changes.parent is not None and not _is(changes.parent, head):
        raise ApiError(412, STALE)
    new = call.git.commit(trees.over(head), parents=[head], message=changes.message, author=call.person.name)
    about = None
    if ref.startswith("refs/pr/"):
        about = call.service.store.discussions.get(call.repo.key, int(ref.removeprefix("refs/pr/")))
        _require_open(about)  # once more, under the lock
        require_calm(call, db, about)
        check_pull_request_size(call, _new_bytes(call, new) + changes.small)
        add_event(db, about, "commit", author=call.person.name, data={"subject": changes.summary, "oid": new})
    call.git.move(ref, old=head, new=new)
    return about, new


def _open(
    call: Call, db: sqlite3.Connection, trees: _Trees, base: str, head: Revision
) -> tuple[Discussion | None, Revision]:
    """A new pull request, open at once, from the parent that the client names."""
    changes = trees.changes
    parent = head if changes.parent is None else call.git.expand(changes.parent)
    if parent is None or not _is_published(call, parent):
        raise no_revision(str(changes.parent))
    person = call.person.name
    new = call.git.commit(trees.over(parent), parents=[parent], message=changes.message, author=person)
    number = call.service.store.free_number(db, call.repo.key)
    about = Discussion(
        repo=call.repo.key,
        number=number,
        title=changes.summary.split("\n")[0][:200],
        author=person,
        status="open",
        is_pull_request=True,
        created_at=time.time(),
        base=base,
    )
    call.git.move(f"refs/pr/{number}", old=None, new=new)
    add_discussion(db, about)
    if changes.description:
        add_event(db, about, "comment", author=person, data={"text": changes.description})
    add_event(db, about, "commit", author=person, data={"subject": changes.summary, "oid": new})
    return about, new


def _target(call: Call) -> str:
    """The ref that the commit is for, which has to be a branch where a pull request is to be opened."""
    name = call.params["revision"]
    is_pull_request = name.startswith("refs/pr/") and name.removeprefix("refs/pr/").isdecimal()
    ref = name if is_pull_request else f"refs/heads/{name.removeprefix('refs/heads/')}"
    if (is_pull_request and call.flag("create_pr")) or not is_ref_name(ref) or call.git.ref(ref) is None:
        raise no_revision(name)
    return ref


def _check_there(call: Call, changes: Changes, added: Files) -> None:
    """Under the lock: nothing that the commit points at was collected in the meantime, and no file pruned."""
    if lost := [sha256 for sha256 in changes.pointed_at if not call.service.store.blobs.has(sha256)]:
        raise bad_request(f"the file {lost[0]} was deleted in the meantime: upload it again")
    if lost := [path for path, sha in added.items() if not is_there(call.git, sha)]:
        raise bad_request(f"the file {lost[0]} was deleted in the meantime: commit it again")


def _new_bytes(call: Call, head: Revision) -> int:
    """Of the large files that a pull request holds, in any of its commits, and no branch or tag."""
    reach, blobs, key = call.service.store.reach, call.service.store.blobs, call.repo.key
    only = reach.of_heads(key, [head]) - reach.of_heads(key, _published(call))
    return sum(blobs.path(sha256).stat().st_size for sha256 in only if blobs.has(sha256))


def _is_published(call: Call, revision: Revision) -> bool:
    """Whether a branch or a tag reaches a commit: what nothing reaches may have lost its large files."""
    return is_reached(call.git, revision, _published(call))


def _published(call: Call) -> list[Revision]:
    """The heads of all branches and tags."""
    git = call.git
    heads = [git.ref(kind + name) for kind in ("refs/heads/", "refs/tags/") for name in git.refs(kind)]
    return [head for head in heads if head]


def _is(given: str, head: Revision) -> bool:
    return 5 <= len(given) <= 40 and head.startswith(given)


ROUTES = [Route(method="POST", pattern="{api}/commit/{revision}", stream=commit, needs=Need.SPEAK)]
