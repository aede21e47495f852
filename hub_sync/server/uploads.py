"""Large files through Git LFS: batch, PUT in one piece or in parts, verify."""

from __future__ import annotations

import hashlib
import math
import os
import re
import uuid
from functools import partial
from pathlib import Path
from typing import IO, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from coldfusion.errors import writing
from hub_sync.blobs import Incoming
from hub_sync.server.call import Call
from hub_sync.server.failures import ApiError, bad_request, unknown, unprocessable
from hub_sync.server.possession import Possession, note_upload, require_room, was_sent
from hub_sync.server.preupload import size_of
from hub_sync.server.receiving import announced, receive
from hub_sync.server.routing import Need, Route

ONE_PIECE = 1 << 30  # bytes; a larger file is sent in parts, of which a lost one is sent again
PART = 1 << 28  # bytes
_SHA256 = re.compile("[0-9a-f]{64}")


def batch(call: Call) -> Response:
    """Where to send each file; nowhere where it is here already, nor where it is too large."""
    body = call.json()
    if body.get("operation") != "upload" or not isinstance(body.get("objects"), list):
        raise bad_request("this Hub takes LFS uploads; files are downloaded from /resolve")
    in_parts = "multipart" in (body.get("transfers") or [])
    theirs = Possession(call)
    require_room(call, sum(size_of(wanted) for wanted in body["objects"]))
    answers = [_answer(call, theirs, wanted, in_parts) for wanted in body["objects"]]
    multipart = any("chunk_size" in a.get("actions", {}).get("upload", {}).get("header", {}) for a in answers)
    content = {"transfer": "multipart" if multipart else "basic", "objects": answers, "hash_algo": "sha256"}
    return JSONResponse(content, media_type="application/vnd.git-lfs+json")


def _answer(call: Call, theirs: Possession, wanted: dict[str, Any], in_parts: bool) -> dict[str, Any]:
    oid, size = wanted.get("oid"), size_of(wanted)
    if not isinstance(oid, str) or not _SHA256.fullmatch(oid):
        raise unprocessable(f"{oid!r} is not a sha256")
    found: dict[str, Any] = {"oid": oid, "size": size}
    if size > (most := call.service.settings.max_file_bytes):
        message = f"{size:,} bytes: this Hub takes files up to {most:,}"
        return {**found, "error": {"code": 413, "message": message}}
    if theirs.has(oid):
        note_upload(call.service, oid, call.person.name, size)  # not to be collected before it is committed
        return found
    facts: dict[str, str | int] = {"oid": oid, "size": size, "user": call.person.name}
    sign, where = call.service.signer.sign, f"{call.endpoint}/lfs/{oid}"
    upload: dict[str, Any] = {"href": f"{where}?signed={sign('put', **facts)}"}
    if in_parts and size > ONE_PIECE:
        facts["upload"] = uuid.uuid4().hex
        header = {"chunk_size": str(PART)}
        for number in range(1, math.ceil(size / PART) + 1):
            header[str(number)] = f"{where}/part?signed={sign('part', **facts, number=number)}"
        upload = {"href": f"{where}/complete?signed={sign('complete', **facts)}", "header": header}
    verify = {"href": f"{where}/verify?signed={sign('verify', **facts)}"}
    return {**found, "actions": {"upload": upload, "verify": verify}}


async def put(call: Call) -> Response:
    """The whole file in one piece."""
    facts = _facts(call, "put")
    _check_length(call, facts["size"])
    with call.service.store.blobs.receive() as incoming:
        await receive(call.request, incoming.write, most=facts["size"])
        await run_in_threadpool(_keep, call, incoming, facts)
    return Response(headers={"ETag": f'"{facts["oid"]}"'})


async def put_part(call: Call) -> Response:
    """One part, written to its place in the file."""
    facts = _facts(call, "part")
    start = (facts["number"] - 1) * PART
    size = min(PART, facts["size"] - start)
    _check_length(call, size)
    path = _partial(call, facts)
    with writing(call.service.store.root):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        file = path.open("r+b", buffering=0)
    with file:
        file.seek(start)
        received = await receive(call.request, partial(_write, call, file), most=size)
    if received != size:
        raise bad_request(f"{received:,} bytes arrived of a part of {size:,}")
    return Response(headers={"ETag": f'"{facts["upload"]}-{facts["number"]}"'})


def _write(call: Call, file: IO[bytes], *pieces: bytes) -> None:
    with writing(call.service.store.root):
        for piece in pieces:
            view = memoryview(piece)
            while view:  # an unbuffered write may be short
                view = view[file.write(view) :]


def complete(call: Call) -> Response:
    """All parts are here: the file is taken if its content is what it should be."""
    facts = _facts(call, "complete")
    path = _partial(call, facts)
    if not path.exists():
        if was_sent(call.service, facts["oid"], facts["user"], facts["size"]):
            return JSONResponse({})  # the answer to the first request got lost
        raise unknown("this upload")
    with path.open("rb") as parts, writing(call.service.store.root):
        _check(facts, path.stat().st_size, hashlib.file_digest(parts, "sha256").hexdigest())
        os.fsync(parts.fileno())
        note_upload(call.service, facts["oid"], facts["user"], facts["size"])
        call.service.store.blobs.adopt(path, facts["oid"])
    path.unlink(missing_ok=True)
    return JSONResponse({})


def verify(call: Call) -> Response:
    """Whether the file arrived from them: what others sent is not theirs to know of."""
    facts = _facts(call, "verify")
    if not was_sent(call.service, facts["oid"], facts["user"], facts["size"]):
        raise unknown(f"file {facts['oid']}")
    return JSONResponse({})


def _keep(call: Call, incoming: Incoming, facts: dict[str, Any]) -> None:
    _check(facts, incoming.size, incoming.sha256())
    note_upload(call.service, facts["oid"], facts["user"], facts["size"])
    incoming.keep()


def _check_length(call: Call, expected: int) -> None:
    """Refuse a body that says at once that it is not as large as it should be."""
    if (size := announced(call.request)) not in (None, expected):
        raise bad_request(f"{size:,} bytes are announced where {expected:,} are expected")


def _check(facts: dict[str, Any], size: int, sha256: str) -> None:
    if (size, sha256) != (facts["size"], facts["oid"]):
        raise unprocessable(f"what arrived is not {facts['oid']} but {sha256}: send it again")


def _facts(call: Call, purpose: str) -> dict[str, Any]:
    facts = call.service.signer.read(purpose, call.query("signed") or "")
    if facts["oid"] != call.params["sha256"]:
        raise ApiError(403, "This address is for another file")
    return facts


def _partial(call: Call, facts: dict[str, Any]) -> Path:
    return call.service.store.blobs.incoming / f"parts-{facts['upload']}"


ROUTES = [
    Route(method="POST", pattern="{web}.git/info/lfs/objects/batch", handler=batch, needs=Need.SPEAK),
    Route(method="PUT", pattern="/lfs/{sha256}", stream=put, needs=Need.KEY),
    Route(method="PUT", pattern="/lfs/{sha256}/part", stream=put_part, needs=Need.KEY),
    Route(method="POST", pattern="/lfs/{sha256}/complete", handler=complete, needs=Need.KEY),
    Route(method="POST", pattern="/lfs/{sha256}/verify", handler=verify, needs=Need.KEY),
]
