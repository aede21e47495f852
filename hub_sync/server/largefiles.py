"""The large files of a repo: which there are, and how to be rid of them for good."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.responses import JSONResponse, Response

from coldfusion.errors import writing
from hub_sync.gitrepo import MAIN, GitRepo
from hub_sync.rewriting import rewrite_without
from hub_sync.server.call import Call
from hub_sync.server.events import tell
from hub_sync.server.failures import bad_request
from hub_sync.server.routing import Need, Route
from hub_sync.server.wire import next_page, when


def listing(call: Call) -> Response:
    """Every large file that any ref reaches, with one of its names."""
    git, found = call.git, dict[str, dict[str, object]]()
    for ref in _refs(git):
        head = git.ref(ref)
        for commit in git.history(head) if head else ():
            for path, sha in git.files(commit.revision).items():
                pointer = git.described(sha)[1]
                if pointer and pointer.sha256 not in found:
                    found[pointer.sha256] = {
                        "fileOid": pointer.sha256,
                        "oid": pointer.sha256,
                        "filename": path,
                        "size": pointer.size,
                        "pushedAt": when(commit.time),
                        "ref": ref,
                    }
    return next_page(call, list(found.values()))


def delete(call: Call) -> Response:
    """Delete large files; with rewriteHistory no commit holds them any more."""
    wanted = call.json().get("deletions")
    names = wanted.get("sha") if isinstance(wanted, dict) else None
    if not isinstance(names, list) or not isinstance(wanted, dict):
        raise bad_request("'deletions' has to be {sha: [...], rewriteHistory}")
    store, git = call.service.store, call.git
    with store.database.exclusive() as db, writing(store.root):
        doomed = {str(name) for name in names} & store.reach.of_repo(call.repo.key)
        rewrite = bool(wanted.get("rewriteHistory", True))
        moved = rewrite_without(git, doomed) if rewrite else {}
        store.collect(db, doomed, even_in=None if rewrite else call.repo.key)
    tell(call, call.repo, "update", "repo.content", moved=[(ref, *both) for ref, both in moved.items()])
    return JSONResponse({"deleted": sorted(doomed)})


def _refs(git: GitRepo) -> Iterator[str]:
    """main, then other branches, then the rest: a file is told where people would look for it."""
    names = [f"refs/{name}" for name in git.refs("refs/")]
    yield from sorted(names, key=lambda ref: (ref != MAIN, not ref.startswith("refs/heads/"), ref))


ROUTES = [
    Route(method="GET", pattern="{api}/lfs-files", handler=listing, needs=Need.WRITE),
    Route(method="POST", pattern="{api}/lfs-files/batch", handler=delete, needs=Need.WRITE),
]
