"""Who am I?"""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from hub_sync.server.call import Call
from hub_sync.server.routing import Need, Route


def whoami(call: Call) -> Response:
    """The person behind the token."""
    person = call.person
    orgs = [{"type": "org", "name": org.name, "fullname": org.fullname} for org in person.orgs]
    return JSONResponse(
        {
            "type": "user",
            "id": person.name,
            "name": person.name,
            "fullname": person.fullname,
            "orgs": orgs,
            "auth": {"type": "access_token", "accessToken": {"displayName": "token", "role": person.role}},
        }
    )


ROUTES = [Route(method="GET", pattern="/api/whoami-v2", handler=whoami, needs=Need.PERSON)]
