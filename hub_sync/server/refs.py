"""Tags, branches, and history squashed into one commit."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from coldfusion.records import Revision
from hub_sync.gitrepo import MAIN, is_ref_name
from hub_sync.server.call import Call
from hub_sync.server.events import tell
from hub_sync.server.failures import ApiError, bad_request, conflict, forbidden, no_revision
from hub_sync.server.routing import Need, Route


def create_tag(call: Call) -> Response:
    """Name a revision. A tag that is there already stays where it is."""
    _create(call, "refs/tags/", call.text("tag", least=1, most=200), call.revision())
    return JSONResponse({})


def delete_tag(call: Call) -> Response:
    _delete(call, f"refs/tags/{call.params['name_of_ref']}")
    return JSONResponse({})


def create_branch(call: Call) -> Response:
    """A branch from main, or from the revision in startingPoint."""
    start = call.json().get("startingPoint")
    _create(call, "refs/heads/", call.params["name_of_ref"], call.revision(str(start) if start else "main"))
    return JSONResponse({})


def delete_branch(call: Call) -> Response:
    """Any but main."""
    ref = f"refs/heads/{call.params['name_of_ref']}"
    if ref == MAIN:
        raise forbidden(f"Cannot delete {MAIN}")
    _delete(call, ref)
    return JSONResponse({})


def super_squash(call: Call) -> Response:
    """Replace a branch's history by one commit. Large files that only the history had are freed."""
    branch = call.params["name_of_ref"]
    ref = branch if branch.startswith("refs/") else f"refs/heads/{branch}"
    message = call.text("message", default=f"Super-squash branch '{branch}'")
    store = call.service.store
    with call.alone() as db:
        head = call.git.ref(ref) if is_ref_name(ref) else None
        if head is None:
            raise no_revision(branch)
        tree = call.git.facts(head).tree
        new = call.git.commit(tree, parents=[], message=message, author=call.person.name)
        call.git.move(ref, old=head, new=new)
        store.collect(db, store.reach.of_heads(call.repo.key, [head]))
    tell(call, call.repo, "update", "repo.content", moved=[(ref, head, new)])
    return JSONResponse({"commitOid": new})


def _create(call: Call, prefix: str, name: str, target: Revision) -> None:
    ref = prefix + name
    if not is_ref_name(ref) or name.startswith("refs/"):
        raise bad_request(f"Invalid reference name: {name!r}")
    with call.alone():
        if call.git.ref(ref):
            raise conflict(f"Reference {ref} already exists")
        if any(call.git.ref(f"{prefix}{upper}") for upper in _above(name)) or any(call.git.refs(f"{ref}/")):
            raise conflict(f"Reference {ref} is in the way of another one")
        call.git.move(ref, old=None, new=target)
    tell(call, call.repo, "update", "repo.content", moved=[(ref, None, target)])


def _delete(call: Call, ref: str) -> None:
    store = call.service.store
    with call.alone() as db:
        head = call.git.ref(ref) if is_ref_name(ref) else None
        if head is None:
            raise ApiError(404, f"Invalid rev id: {ref}", code="RevisionNotFound")
        call.git.drop(ref)
        store.collect(db, store.reach.of_heads(call.repo.key, [head]))
    tell(call, call.repo, "update", "repo.content", moved=[(ref, head, None)])


def _above(name: str) -> list[str]:
    """a/b/c -> a, a/b: git keeps refs as files, and none can be a folder too."""
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


ROUTES = [
    Route(method="POST", pattern="{api}/tag/{revision}", handler=create_tag, needs=Need.WRITE),
    Route(method="DELETE", pattern="{api}/tag/{name_of_ref}", handler=delete_tag, needs=Need.WRITE),
    Route(method="POST", pattern="{api}/branch/{name_of_ref}", handler=create_branch, needs=Need.WRITE),
    Route(method="DELETE", pattern="{api}/branch/{name_of_ref}", handler=delete_branch, needs=Need.WRITE),
    Route(method="POST", pattern="{api}/super-squash/{name_of_ref}", handler=super_squash, needs=Need.WRITE),
]
