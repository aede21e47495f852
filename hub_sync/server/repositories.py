"""Repos: create, delete, move, settings, describe, list."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from starlette.responses import JSONResponse, Response

from hub_sync.attributes import ATTRIBUTES
from hub_sync.repos import RepoRow, is_name, update_repo
from hub_sync.server.access import may_see, repo_key, require, require_contents, require_write
from hub_sync.server.call import Call
from hub_sync.server.cards import card_of
from hub_sync.server.events import tell
from hub_sync.server.failures import ApiError, bad_request, conflict, forbidden, no_repo
from hub_sync.server.routing import Need, Route
from hub_sync.server.wire import PAGE, next_page, sibling, when

EXPANDABLE = (
    *(
        "author",
        "cardData",
        "createdAt",
        "disabled",
        "downloads",
        "downloadsAllTime",
        "gated",
        "lastModified",
    ),
    *("library_name", "likes", "model-index", "pipeline_tag", "private", "sha", "siblings", "tags"),
    "usedStorage",
)


def create(call: Call) -> Response:
    """A new repo with an initial commit, which holds .gitattributes."""
    body = call.json()
    namespace = body.get("organization") or call.person.name
    kind, name = body.get("type") or "model", body.get("name")
    if not isinstance(name, str) or not isinstance(namespace, str) or not is_name(name):
        raise bad_request(f"no repo can be called {name!r}: letters, digits, '-', '_' and '.', at most 96")
    row = RepoRow(key=repo_key(kind, f"{namespace}/{name}"), created_at=time.time())
    store = call.service.store
    taken = ApiError(409, f"You already created this {kind} repo", body={"url": call.url(row)})
    if (found := store.repos.find(row.key)) and may_see(call.caller, found):
        raise taken
    require_write(call.caller, row)
    org = call.service.people.org(namespace)
    row = replace(row, private=_is_private(body, default=bool(org and org.private_repos)))
    files = {".gitattributes": ATTRIBUTES.encode()}
    if kind == "space":
        files["README.md"] = f"---\ntitle: {name}\nsdk: {body.get('sdk') or 'static'}\n---\n".encode()
    if not store.create(row, files=files, author=call.person.name):
        raise taken
    tell(call, row, "create", "repo")
    return JSONResponse({"url": call.url(row), "name": row.id, "id": row.id})


def delete(call: Call) -> Response:
    """Delete a repo, its pull requests, and the large files that only it had."""
    row = _named(call, f"{call.json().get('organization') or call.person.name}/{call.json().get('name')}")
    call.service.store.delete(row.key)
    tell(call, row, "delete", "repo")
    return JSONResponse({})


def move(call: Call) -> Response:
    """Rename; the old name leads to the new one."""
    row, target = _named(call, str(call.json().get("fromRepo"))), str(call.json().get("toRepo"))
    new = replace(row, key=repo_key(row.kind, target))
    require_write(call.caller, new)
    if not call.service.store.move(row.key, new.key):
        raise conflict(f"A {row.kind} repository called {target} already exists")
    tell(call, row, "move", "repo", moved_to=new)
    return JSONResponse({})


def settings(call: Call) -> Response:
    """Who may see it."""
    body = call.json()
    with call.alone() as db:
        row = call.repo
        gated = body.get("gated", row.gated or False)
        if gated not in ("auto", "manual", False):
            raise bad_request(f"gated is 'auto', 'manual' or false, not {gated!r}")
        row = replace(
            row,
            private=_is_private(body, default=row.private),
            gated=gated or "",
            discussions_disabled=bool(body.get("discussionsDisabled", row.discussions_disabled)),
        )
        update_repo(db, row)
    tell(call, row, "update", "repo.config")
    return JSONResponse({"private": row.private, "gated": row.gated or False})


def info(call: Call) -> Response:
    """What is known about a repo at a revision; with ?expand= only what is asked for."""
    wanted = call.request.query_params.getlist("expand") + call.request.query_params.getlist("expand[]")
    if odd := [name for name in wanted if name not in EXPANDABLE]:
        options = "|".join(f'"{name}"' for name in EXPANDABLE)
        raise bad_request(f"Invalid option {odd[0]!r}: expected one of {options}")
    found = _describe(call, blobs=call.flag("blobs"))
    if wanted:
        found = {name: value for name, value in found.items() if name in ("_id", "id", *wanted)}
    return JSONResponse(found)


def listing(call: Call) -> Response:
    """The repos that the caller may see, newest first; ?author= ?search= ?limit=."""
    kind = call.params["kinds"].removesuffix("s")
    author, search = (call.query("author") or "").lower(), (call.query("search") or "").lower()
    found = [
        row
        for row in call.service.store.repos.all()
        if row.kind == kind
        and may_see(call.caller, row)
        and author in ("", row.namespace.lower())
        and search in row.id.lower()
    ]
    size = min(call.count("limit") or PAGE, PAGE)
    return next_page(call, [_brief(row) for row in found], size=size)


def auth_check(call: Call) -> Response:
    """Whether the caller may read the files of a repo; with /write, whether they may change them."""
    require_contents(call.service, call.caller, call.repo)
    if call.request.url.path.endswith("/auth-check/write"):
        require_write(call.caller, call.repo)
    return JSONResponse({})


def _named(call: Call, repo_id: str) -> RepoRow:
    """The repo that the body names, which the caller may change. Raises ApiError."""
    row = call.service.store.repos.find(repo_key(call.json().get("type") or "model", repo_id))
    if row is None:
        raise no_repo()
    require(call.service, call.caller, Need.WRITE, row)
    return row


def _is_private(body: dict[str, Any], *, default: bool) -> bool:
    visibility = body.get("visibility")
    if visibility not in (None, "public", "private"):
        raise forbidden(f"this Hub has public and private repos, not {visibility!r}")
    if visibility is None:
        return default if body.get("private") is None else bool(body["private"])
    return bool(visibility == "private")


def _brief(row: RepoRow) -> dict[str, Any]:
    return {
        "_id": row.key,
        "id": row.id,
        "author": row.namespace,
        "private": row.private,
        "gated": row.gated or False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "createdAt": when(row.created_at),
    }


def _describe(call: Call, *, blobs: bool) -> dict[str, Any]:
    revision, git = call.revision(), call.git
    files = git.files(revision)
    card, tags = card_of(git, files)
    return {
        **_brief(call.repo),
        "sha": revision,
        "lastModified": when(git.facts(revision).time),
        "cardData": card,
        "tags": tags,
        "downloadsAllTime": 0,
        "library_name": card.get("library_name"),
        "model-index": card.get("model-index"),
        "pipeline_tag": card.get("pipeline_tag"),
        "usedStorage": sum(git.described(sha)[0] for sha in set(files.values())),
        "siblings": [sibling(git, path, sha, blobs=blobs) for path, sha in files.items()],
    }


ROUTES = [
    Route(method="POST", pattern="/api/repos/create", handler=create, needs=Need.PERSON),
    Route(method="DELETE", pattern="/api/repos/delete", handler=delete, needs=Need.PERSON),
    Route(method="POST", pattern="/api/repos/move", handler=move, needs=Need.PERSON),
    Route(method="PUT", pattern="{api}/settings", handler=settings, needs=Need.WRITE),
    Route(method="GET", pattern="{api}", handler=info),
    Route(method="GET", pattern="{api}/revision/{revision}", handler=info),
    Route(method="GET", pattern="{api}/auth-check(?:/write)?", handler=auth_check),
    Route(
        method="GET",
        pattern="/api/(?P<kinds>models|datasets|spaces)",
        handler=listing,
        needs=Need.NOTHING,
    ),
]
