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
from hub_sync.server.possession import note_upload, require_room, room_of
from hub_sync.server.receiving import drain, receive
from hub_sync.server.routing import Need, Route
from hub_sync.server.signing import LIFE
from hub_sync.xetformat import MAX_SHARD, MAX_XORB, XetError, read_shard

SLACK = 1 << 27  # bytes: chunks that do not become smaller, and the one before the last


def write_token(call: Call) -> Response:
    """Where this upload goes, and the token for it, in the headers and in the body."""
    require_room(call, 0)
    space = call.service.store.spaces.open(call.person.name, call.repo.key)
    facts: dict[str, str | int] = {"user": call.person.name, "repo": call.repo.key, "space": space}
    facts["room"] = room_of(call)
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
    facts = _facts(call)
    spaces, xorb = call.service.store.spaces, call.params["sha256"]
    if spaces.has(facts["space"], xorb):
        await drain(call.request)
        return JSONResponse({"was_inserted": False})
    if spaces.size(facts["space"]) > facts["room"] + SLACK:
        await drain(call.request)
        raise too_large(f"more than {facts['room']:,} bytes in one upload")
    with call.service.store.blobs.receive(hashed=False) as incoming:
        await receive(call.request, incoming.write, most=MAX_XORB)
        await run_in_threadpool(spaces.keep, facts["space"], xorb, incoming)
    return JSONResponse({"was_inserted": True})


async def post_shard(call: Call) -> Response:
    """Make blobs of the files that a shard describes."""
    facts = _facts(call)
    with call.service.store.blobs.receive(hashed=False) as incoming:
        await receive(call.request, incoming.write, most=MAX_SHARD)
        await run_in_threadpool(_rebuild, call, facts, incoming.path)
    if "/v1/" in call.request.url.path:
        return JSONResponse({"result": 1})
    # v2 answers with lines of progress, of which this is the last.
    line = json.dumps({"type": "result", "result": 1}) + "\n"
    return Response(line, media_type="application/x-ndjson")


def _rebuild(call: Call, facts: dict[str, Any], shard: Path) -> None:
    most, store = call.service.settings.max_file_bytes, call.service.store
    try:
        with shard.open("rb") as file:
            for recipe in read_shard(file):
                if recipe.size > most:
                    raise too_large(f"a file of {recipe.size:,} bytes: this Hub takes up to {most:,}")
                store.spaces.rebuild(facts["space"], recipe, store.blobs)
                note_upload(call.service, recipe.sha256, facts["user"], recipe.size)
    except XetError as exc:
        store.spaces.close(facts["user"], facts["repo"])  # the client would not send the same xorbs again
        raise bad_request(str(exc)) from exc


def _facts(call: Call) -> dict[str, Any]:
    """Who may do what where, by the token that this Hub gave them. Raises ApiError."""
    token = call.request.headers.get("authorization", "").removeprefix("Bearer ")
    facts = call.service.signer.read("xet", token)
    if facts["space"] != call.params["space"]:
        raise ApiError(403, "This token is for another upload")
    return facts


_XET = "/xet/{space}"
ROUTES = [
    Route(method="GET", pattern="{api}/xet-write-token/{revision}", handler=write_token, needs=Need.SPEAK),
    Route(method="POST", pattern=f"{_XET}/v1/xorbs/default/{{sha256}}", stream=put_xorb, needs=Need.KEY),
    Route(method="POST", pattern=f"{_XET}/(?:v1|v2)/shards", stream=post_shard, needs=Need.KEY),
]
