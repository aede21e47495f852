"""Gated repos: asking for access, and letting people in."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from starlette.responses import JSONResponse, Response

from hub_sync.gates import AccessRequest
from hub_sync.server.call import Call
from hub_sync.server.failures import ApiError, bad_request, unknown
from hub_sync.server.routing import Need, Route
from hub_sync.server.wire import next_page, when


def ask(call: Call) -> Response:
    """Ask for access, with whatever the owner wants to know as a form. Where it is automatic, that is all."""
    _require_gate(call)
    gates, name = call.service.gates, call.person.name
    if gates.status(call.repo.key, name) is None:
        fields = dict(parse_qsl(call.body.decode("utf-8", "replace")))
        status = "accepted" if call.repo.gated == "auto" else "pending"
        gates.set(call.repo.key, name, status, fields)
    return JSONResponse({"status": gates.status(call.repo.key, name)})


def listing(call: Call) -> Response:
    requests = call.service.gates.all(call.repo.key, call.params["status"])
    return next_page(call, [_shown(call, request) for request in requests])


def handle(call: Call) -> Response:
    """Accept, reject, or send back to the waiting list."""
    body = call.json()
    status = body.get("status")
    if status not in ("accepted", "rejected", "pending"):
        raise bad_request(f"a status is 'accepted', 'rejected' or 'pending', not {status!r}")
    user = str(body.get("user") or "")
    if number := str(body.get("requestId") or ""):
        known = re.fullmatch("[0-9]{1,18}", number) and call.service.gates.user_of(call.repo.key, int(number))
        user = known or ""
    if not user or call.service.gates.status(call.repo.key, user) is None:
        raise unknown(f"an access request of {user or number!r}")
    if not call.service.gates.set(call.repo.key, user, status):
        raise bad_request(f"the request of {user} is {status} already")
    return JSONResponse({})


def grant(call: Call) -> Response:
    """Let somebody in who did not ask."""
    _require_gate(call)
    user = call.text("user", least=1)
    if not call.service.people.has(user):
        raise unknown(f"user {user!r}")
    if not call.service.gates.set(call.repo.key, user, "accepted"):
        raise bad_request(f"{user} has access already")
    return JSONResponse({})


def _require_gate(call: Call) -> None:
    if call.caller is None:
        raise ApiError(401, "This needs a token of this Hub")
    if not call.repo.gated:
        raise bad_request(f"{call.repo.id} is not gated")


def _shown(call: Call, request: AccessRequest) -> dict[str, object]:
    return {
        "requestId": str(request.id),
        "user": {"user": request.user},
        "status": request.status,
        "timestamp": when(request.created_at),
        "fields": dict(request.fields),
    }


ROUTES = [
    Route(method="POST", pattern="{web}/ask-access", handler=ask),
    Route(
        method="GET",
        pattern="{api}/user-access-request/(?P<status>pending|accepted|rejected)",
        handler=listing,
        needs=Need.WRITE,
    ),
    Route(method="POST", pattern="{api}/user-access-request/handle", handler=handle, needs=Need.WRITE),
    Route(method="POST", pattern="{api}/user-access-request/grant", handler=grant, needs=Need.WRITE),
]
