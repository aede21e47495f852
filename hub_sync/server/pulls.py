"""What only pull requests have: changes, merging, a ref that can be deleted, storage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dulwich.objects import ObjectID
from starlette.responses import JSONResponse, Response

from coldfusion.errors import NotOnHub
from coldfusion.records import Revision
from hub_sync.differences import diff
from hub_sync.discussions import Discussion, add_event, set_merged
from hub_sync.gitrepo import MAIN
from hub_sync.history import merge_base
from hub_sync.merging import merge as merged
from hub_sync.server.access import require_contents
from hub_sync.server.call import Call
from hub_sync.server.events import tell, tell_discussion
from hub_sync.server.failures import ApiError, bad_request, conflict, unknown
from hub_sync.server.routing import Need, Route


def changes_of(call: Call, about: Discussion, *, with_diff: bool) -> dict[str, Any]:
    """What a pull request changes, and whether it can be merged."""
    base = about.base or MAIN
    found: dict[str, Any] = {"changes": {"base": base}, "filesWithConflicts": [], "diff": ""}
    if about.merge_commit:
        found["changes"]["mergeCommitId"] = about.merge_commit
    ours, theirs = call.git.ref(base), call.git.ref(f"refs/pr/{about.number}")
    if with_diff and ours and theirs:
        if about.is_open:
            found["filesWithConflicts"] = list(merged(call.git, ours, theirs).conflicts)
        found["diff"] = _diff(call, about)
    return found


def merge(call: Call) -> Response:
    """Bring an open pull request into its base."""
    said, ahead = call.text("comment", default=""), dict[tuple[Revision, Revision], _Attempt]()
    about = _about(call)
    ours, theirs = call.git.ref(about.base or MAIN), call.git.ref(f"refs/pr/{about.number}")
    if about.status == "open" and ours and theirs:
        ahead[ours, theirs] = _attempt(call, ours, theirs)  # so that nobody waits for it, if nothing moves
    with call.alone() as db:
        about = _about(call)
        base = about.base or MAIN
        ours, theirs = call.git.ref(base), call.git.ref(f"refs/pr/{about.number}")
        if about.status != "open":
            raise bad_request(
                f"pull request #{about.number} is {about.status}: only an open one can be merged"
            )
        if ours is None or theirs is None:
            raise bad_request(f"the branch or the ref of pull request #{about.number} is gone")
        result = ahead.get((ours, theirs)) or _attempt(call, ours, theirs)
        if result.tree is None:
            raise conflict(f"pull request #{about.number} conflicts in {', '.join(result.conflicts[:5])}")
        new = call.git.commit(
            result.tree,
            parents=[ours, theirs],
            message=f"{about.title} (#{about.number})",
            author=call.person.name,
        )
        if said:
            add_event(db, about, "comment", author=call.person.name, data={"text": said})
        set_merged(db, about, new, author=call.person.name)
        call.git.move(base, old=ours, new=new)
    tell(call, call.repo, "update", "repo.content", moved=[(base, ours, new)])
    tell_discussion(call, replace(about, status="merged", merge_commit=new), "update")
    return JSONResponse({"mergeCommitId": new})


@dataclass(frozen=True, slots=True)
class _Attempt:
    conflicts: tuple[str, ...]
    tree: ObjectID | None  # None where there are conflicts


def _attempt(call: Call, ours: Revision, theirs: Revision) -> _Attempt:
    """Merge as far as it goes without a lock: up to the folders."""
    found = merged(call.git, ours, theirs)
    return _Attempt(found.conflicts, None if found.conflicts else call.git.add_tree(found.files))


def delete_ref(call: Call) -> Response:
    """Delete the ref of a pull request that is over; what only it held is freed."""
    with call.alone() as db:
        about, ref = _about(call), f"refs/pr/{call.params['number']}"
        if about.is_open:
            raise bad_request(f"pull request #{about.number} is {about.status}: close it first")
        head = call.service.store.drop(db, call.repo.key, ref)
        if head is None:
            raise ApiError(404, f"Invalid rev id: {ref}", code="RevisionNotFound")
    tell(call, call.repo, "update", "repo.content", moved=[(ref, head, None)])
    return JSONResponse({})


def storage(call: Call) -> Response:
    """The bytes of large files that only this pull request holds: what deleting its ref frees."""
    about, store, git = _about(call), call.service.store, call.git
    head = git.ref(f"refs/pr/{about.number}")
    if head is None:
        return JSONResponse({"num": about.number, "usedStorage": 0, "refExists": False})
    refs = [f"refs/{name}" for name in git.refs("refs/") if name != f"pr/{about.number}"]
    others = [other for ref in refs if (other := git.ref(ref))]
    only = store.reach.of_heads(call.repo.key, [head]) - store.reach.of_heads(call.repo.key, others)
    size = sum(store.blobs.path(sha256).stat().st_size for sha256 in only if store.blobs.has(sha256))
    return JSONResponse({"num": about.number, "usedStorage": size, "refExists": True})


def _diff(call: Call, about: Discussion) -> str:
    """Against where it started from; nothing for those who may not read the files."""
    try:
        require_contents(call.service, call.caller, call.repo)
    except ApiError:
        return ""
    ours, theirs = call.git.ref(about.base or MAIN), call.git.ref(f"refs/pr/{about.number}")
    start = merge_base(call.git, ours, theirs) if ours and theirs else None
    return diff(call.git, start, theirs) if start and theirs else ""


def _about(call: Call) -> Discussion:
    try:
        about = call.service.store.discussions.get(call.repo.key, int(call.params["number"]))
    except NotOnHub as exc:
        raise unknown(f"pull request #{call.params['number']} of {call.repo.id}") from exc
    if not about.is_pull_request:
        raise bad_request(f"#{about.number} is a discussion, not a pull request")
    return about


ROUTES = [
    Route(method="POST", pattern="{api}/discussions/{number}/merge", handler=merge, needs=Need.WRITE),
    Route(method="DELETE", pattern="{api}/discussions/{number}/ref", handler=delete_ref, needs=Need.WRITE),
    Route(method="GET", pattern="{api}/discussions/{number}/storage", handler=storage),
]
