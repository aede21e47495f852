"""Large files through Git LFS: batch, PUT in one piece or in parts, verify."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from hub_sync.blobs import Incoming
from hub_sync.server.call import Call
from hub_sync.server.failures import ApiError, bad_request, too_large, unknown, unprocessable
from hub_sync.server.keys import facts_of
from hub_sync.server.possession import Possession
from hub_sync.server.preupload import size_of
from hub_sync.server.quota import cap_of, has_uploaded, note_upload, release, require_room, reserve
from hub_sync.server.receiving import announced, drain, receive
from hub_sync.server.routing import Need, Route

ONE_PIECE = 1 << 30  # bytes; a larger file is sent in parts, of which a lost one is sent again
PART = 1 << 28  # bytes
MOST = 1000  # files in one batch; the client asks for 256
_SHA256 = re.compile("[0-9a-f]{64}")


def batch(call: Call) -> Response:
    """Where to send each file; nowhere where it is here already, nor where it is too large."""
    body = call.json()
    objects = body.get("objects")
    if body.get("operation") != "upload" or not isinstance(objects, list):
        raise bad_request("this Hub takes LFS uploads; files are downloaded from /resolve")
    if len(objects) > MOST:
        raise too_large(f"{len(objects):,} files in one batch: this Hub takes up to {MOST:,}")
    if not all(isinstance(wanted, dict) for wanted in objects):
        raise bad_request("'objects' has to be a list of {oid, size}")
    in_parts = "multipart" in (body.get("transfers") or [])
    theirs = Possession(call)
    new = [wanted for wanted in objects if wanted.get("oid") not in theirs.uploaded]
    require_room(call.service, call.person.name, cap_of(call), sum(map(size_of, new)))
    answers = [_answer(call, theirs, wanted, in_parts) for wanted in objects]
    multipart = any("chunk_size" in a.get("actions", {}).get("upload", {}).get("header", {}) for a in answers)
    content = {"transfer": "multipart" if multipart else "basic", "objects": answers, "hash_algo": "sha256"}
    return JSONResponse(content, media_type="application/vnd.git-lfs+json")


def _answer(call: Call, theirs: Possession, wanted: dict[str, Any], in_parts: bool) -> dict[str, Any]:
    oid, size, user = wanted.get("oid"), size_of(wanted), call.person.name
    if not isinstance(oid, str) or not _SHA256.fullmatch(oid):
        raise unprocessable(f"{oid!r} is not a sha256")
    found: dict[str, Any] = {"oid": oid, "size": size}
    if size > (most := call.service.settings.max_file_bytes):
        message = f"{size:,} bytes: this Hub takes files up to {most:,}"
        return {**found, "error": {"code": 413, "message": message}}
    if theirs.has(oid):  # not to be collected before it is committed
        note_upload(call.service, oid, user, call.service.store.blobs.path(oid).stat().st_size)
        return found
    facts: dict[str, str | int] = {"oid": oid, "size": size, "user": user, "cap": cap_of(call)}
    sign, where = call.service.signer.sign, f"{call.endpoint}/lfs/{oid}"
    upload: dict[str, Any] = {"href": f"{where}?signed={sign('put', **facts)}"}
    if in_parts and size > ONE_PIECE:
        # The same for every try: parts of one that broke off are replaced, and not kept beside the new ones.
        facts["upload"] = hashlib.sha256(f"{user.lower()} {oid} {size}".encode()).hexdigest()
        header = {"chunk_size": str(PART)}
        for number in range(1, len(_sizes(size)) + 1):
            header[str(number)] = f"{where}/part?signed={sign('part', **facts, number=number)}"
        upload = {"href": f"{where}/complete?signed={sign('complete', **facts)}", "header": header}
    verify = {"href": f"{where}/verify?signed={sign('verify', **facts)}"}
    return {**found, "actions": {"upload": upload, "verify": verify}}


async def put(call: Call) -> Response:
    """The whole file in one piece."""
    facts = await _let_in(call, "put")
    _check_length(call, facts["size"])
    with call.service.store.blobs.receive() as incoming:
        async with _room(call, facts, facts["size"], instead_of=facts["oid"]) as name:
            await receive(call.request, incoming, most=facts["size"])
            await run_in_threadpool(_keep, call, incoming, facts, name)
    return Response(headers={"ETag": f'"{facts["oid"]}"'})


async def put_part(call: Call) -> Response:
    """One part."""
    facts = await _let_in(call, "part")
    size = _sizes(facts["size"])[facts["number"] - 1]
    _check_length(call, size)
    with call.service.store.blobs.receive(hashed=False) as incoming:
        async with _room(call, facts, size, instead_of=_rows(facts, facts["number"])) as name:
            received = await receive(call.request, incoming, most=size)
            if received != size:
                raise bad_request(f"{received:,} bytes arrived of a part of {size:,}")
            await run_in_threadpool(_keep_part, call, incoming, facts, name)
    return Response(headers={"ETag": f'"{facts["upload"]}-{facts["number"]}"'})


def complete(call: Call) -> Response:
    """All parts are here: the file is taken if its content is what it should be."""
    facts, service = _facts(call, "complete"), call.service
    sizes, rows, user = _sizes(facts["size"]), _rows(facts), facts["user"]
    if has_uploaded(service, facts["oid"], user):  # the answer to the first request got lost
        service.parts.forget(facts["upload"], len(sizes))
        release(service, user, rows)
        return JSONResponse({})
    require_room(service, user, facts["cap"], facts["size"], instead_of=rows)
    with service.parts.together(facts["upload"], sizes) as incoming:
        try:
            _keep(call, incoming, facts, rows)
        except ApiError:
            release(service, user, rows)
            raise
    return JSONResponse({})


def verify(call: Call) -> Response:
    """Whether the file arrived. Of what others uploaded nothing is said."""
    facts, service = _facts(call, "verify"), call.service
    if not has_uploaded(service, facts["oid"], facts["user"]):
        raise unknown(f"file {facts['oid']}")
    if service.store.blobs.path(facts["oid"]).stat().st_size != facts["size"]:
        raise unprocessable(f"{facts['oid']} is not a file of {facts['size']:,} bytes")
    return JSONResponse({})


@asynccontextmanager
async def _room(call: Call, facts: dict[str, Any], size: int, *, instead_of: str) -> AsyncIterator[str]:
    """Room for a body, under a name; released where it does not arrive. Raises ApiError."""
    user, cap = facts["user"], facts["cap"]
    try:
        name = await run_in_threadpool(reserve, call.service, user, cap, size, instead_of=instead_of)
    except ApiError:
        await drain(call.request)
        raise
    try:
        yield name
    except BaseException:
        await run_in_threadpool(release, call.service, user, name)
        raise


def _keep(call: Call, incoming: Incoming, facts: dict[str, Any], rows: str) -> None:
    if (incoming.size, sha256 := incoming.sha256()) != (facts["size"], facts["oid"]):
        raise unprocessable(f"what arrived is not {facts['oid']} but {sha256}: send it again")
    note_upload(call.service, sha256, facts["user"], incoming.size, instead_of=rows)
    incoming.keep()


def _keep_part(call: Call, incoming: Incoming, facts: dict[str, Any], row: str) -> None:
    name = _rows(facts, facts["number"])
    note_upload(call.service, name, facts["user"], incoming.size, instead_of=row)
    call.service.parts.keep(facts["upload"], facts["number"], incoming)


def _check_length(call: Call, expected: int) -> None:
    """Refuse a body that says at once that it is not as large as it should be."""
    if (size := announced(call.request)) not in (None, expected):
        raise bad_request(f"{size:,} bytes are announced where {expected:,} are expected")


async def _let_in(call: Call, purpose: str) -> dict[str, Any]:
    try:
        return _facts(call, purpose)
    except ApiError:
        await drain(call.request)
        raise


def _facts(call: Call, purpose: str) -> dict[str, Any]:
    facts = facts_of(call, purpose, call.query("signed") or "")
    if facts["oid"] != call.params["sha256"]:
        raise ApiError(403, "This address is for another file")
    return facts


def _sizes(size: int) -> list[int]:
    """Of the parts of a file."""
    return [min(PART, size - PART * number) for number in range(math.ceil(size / PART))]


def _rows(facts: dict[str, Any], number: int | str = "*") -> str:
    """Under which names the parts of an upload are counted."""
    return f"part/{facts['upload']}/{number}"


ROUTES = [
    Route(method="POST", pattern="{web}.git/info/lfs/objects/batch", handler=batch, needs=Need.SPEAK),
    Route(method="PUT", pattern="/lfs/{sha256}", stream=put, needs=Need.KEY),
    Route(method="PUT", pattern="/lfs/{sha256}/part", stream=put_part, needs=Need.KEY),
    Route(method="POST", pattern="/lfs/{sha256}/complete", handler=complete, needs=Need.KEY),
    Route(method="POST", pattern="/lfs/{sha256}/verify", handler=verify, needs=Need.KEY),
]
