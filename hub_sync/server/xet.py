"""Large files through Xet, as the stock client sends them: the upload half of its protocol.

The client asks for a write token and the address of a space, posts xorbs there, and then a shard, on which
each of its files is put together and kept as a blob if its sha256 is right. The commit comes after that, as
with Git LFS. Downloads are plain HTTP: no answer of this Hub has the header that would make a client try Xet.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from hub_sync.server.call import Call
from hub_sync.server.failures import ApiError, bad_request, too_large
from hub_sync.server.keys import facts_of
from hub_sync.server.quota import UNLIMITED, cap_of, has_uploaded, note_upload, require_room, reserved
from hub_sync.server.receiving import drain, receive
from hub_sync.server.routing import Need, Route
from hub_sync.server.signing import LIFE
from hub_sync.xetformat import MAX_SHARD, MAX_XORB, FileRecipe, XetError, read_shard

SLACK = 1 << 27  # bytes: chunks that do not become smaller, and the one before the last


def write_token(call: Call) -> Response:
    """Where this upload goes, and the token for it, in the headers and in the body."""
    require_room(call.service, call.person.name, cap_of(call), 0)
    space = call.service.store.spaces.open(call.person.name, call.repo.key)
    facts: dict[str, str | int] = {"user": call.person.name, "repo": call.repo.key, "space": space}
    facts["cap"] = cap_of(call)
    token, until = call.service.signer.sign("xet", **facts), int(time.time()) + LIFE
    address = f"{call.endpoint}/xet/{space}"
    headers = {
        "X-Xet-Cas-Url": address,
        "X-Xet-Access-Token": token,
        "X-Xet-Token-Expiration": str(until),
    }
    return JSONResponse({"casUrl": address, "accessToken": token, "exp": until}, headers=headers)


async def put_xorb(call: Call) -> Response:
    """Keep a xorb for the shard that will need it."""
    facts, xorb = await _let_in(call), call.params["sha256"]
    try:
        is_here = await run_in_threadpool(_has, call, facts, xorb)
    except ApiError:
        await drain(call.request)
        raise
    if is_here:
        await drain(call.request)
        return JSONResponse({"was_inserted": False})
    with call.service.store.blobs.receive(hashed=False) as incoming:
        await receive(call.request, incoming, most=MAX_XORB)
        try:
            await run_in_threadpool(call.service.store.spaces.keep, facts["space"], xorb, incoming)
        except XetError as exc:
            raise bad_request(str(exc)) from exc
    return JSONResponse({"was_inserted": True})


async def post_shard(call: Call) -> Response:
    """Make blobs of the files that a shard describes."""
    facts = await _let_in(call)
    with call.service.store.blobs.receive(hashed=False) as incoming:
        await receive(call.request, incoming, most=MAX_SHARD)
        await run_in_threadpool(_rebuild_all, call, facts, incoming.path)
    if "/v1/" in call.request.url.path:
        return JSONResponse({"result": 1})
    # v2 answers with lines of progress, of which this is the last.
    line = json.dumps({"type": "result", "result": 1}) + "\n"
    return Response(line, media_type="application/x-ndjson")


def _has(call: Call, facts: dict[str, Any], xorb: str) -> bool:
    """Whether a xorb is here. Raises ApiError where there is no room for another one."""
    spaces, cap = call.service.store.spaces, facts["cap"]
    if not spaces.is_there(facts["space"]):
        raise ApiError(404, "This upload is over: start it again")
    if spaces.has(facts["space"], xorb):
        return True
    if cap < UNLIMITED and spaces.size(facts["user"], facts["space"]) > cap + SLACK:
        raise too_large(f"more than {cap:,} bytes in one upload")
    return False


def _rebuild_all(call: Call, facts: dict[str, Any], shard: Path) -> None:
    """All files or an error, after which the client would not send the same xorbs again: the space goes."""
    try:
        with shard.open("rb") as file:
            for recipe in read_shard(file):
                _rebuild(call, facts, recipe)
    except XetError as exc:
        call.service.store.spaces.drop(facts["space"])
        raise bad_request(str(exc)) from exc
    except ApiError:
        call.service.store.spaces.drop(facts["space"])
        raise


def _rebuild(call: Call, facts: dict[str, Any], recipe: FileRecipe) -> None:
    """A few bytes of a shard may stand for gigabytes: there has to be room for them before they are made."""
    service, user, size = call.service, facts["user"], recipe.size
    if size > (most := service.settings.max_file_bytes):
        raise too_large(f"a file of {size:,} bytes: this Hub takes up to {most:,}")
    if has_uploaded(service, recipe.sha256, user):
        note_upload(service, recipe.sha256, user, size)
        return
    with reserved(service, user, facts["cap"], size, instead_of=recipe.sha256) as room:
        service.store.spaces.rebuild(facts["space"], recipe, service.store.blobs)
        note_upload(service, recipe.sha256, user, size, instead_of=room)


async def _let_in(call: Call) -> dict[str, Any]:
    """Who may do what where, by the token that this Hub gave them. Raises ApiError."""
    key = call.request.headers.get("authorization", "").removeprefix("Bearer ")
    try:
        facts = facts_of(call, "xet", key)
        if facts["space"] != call.params["space"]:
            raise ApiError(403, "This token is for another upload")
    except ApiError:
        await drain(call.request)
        raise
    return facts


_XET = "/xet/{space}"
ROUTES = [
    Route(method="GET", pattern="{api}/xet-write-token/{revision}", handler=write_token, needs=Need.SPEAK),
    Route(method="POST", pattern=f"{_XET}/v1/xorbs/default/{{sha256}}", stream=put_xorb, needs=Need.KEY),
    Route(method="POST", pattern=f"{_XET}/(?:v1|v2)/shards", stream=post_shard, needs=Need.KEY),
]
