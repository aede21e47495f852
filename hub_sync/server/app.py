"""The application: one door for every request, behind which the caller is known and the errors are told."""

from __future__ import annotations

import sys
import traceback

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from coldfusion.errors import ColdFusionError
from hub_sync.people import Person
from hub_sync.server import (
    accounts,
    cards,
    commits,
    discussions,
    downloads,
    gating,
    hooks,
    largefiles,
    listings,
    preupload,
    pulls,
    refs,
    repositories,
    uploads,
    xet,
)
from hub_sync.server.access import caller_of, repo_of, require
from hub_sync.server.call import MAX_JSON, Call
from hub_sync.server.failures import ApiError, as_api_error, request_id, response_of, too_large
from hub_sync.server.receiving import drain
from hub_sync.server.routing import Need, Route, Router
from hub_sync.server.service import Service

MODULES = (
    *(accounts, cards, repositories, listings, refs, preupload, uploads, commits, discussions, pulls),
    *(xet, downloads, largefiles, gating, hooks),
)


class App:
    """An ASGI application that serves one store."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._router = Router(route for module in MODULES for route in module.ROUTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        request = Request(scope, receive)
        response = await self._respond(request)
        response.headers.update(getattr(request.state, "limits", {}))
        if getattr(request.state, "close", False):
            response.headers["Connection"] = "close"
        response.headers["X-Request-Id"] = request_id(request.headers)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        try:
            route, params = self._router.match(request.method, request.scope["raw_path"].decode("latin-1"))
            if route.stream:
                return await route.stream(await run_in_threadpool(self._enter, request, route, params))
            if not _has_body(request):
                return await run_in_threadpool(lambda: _handle(route, self._enter(request, route, params)))
            call = await self._let_in(request, route, params)
            call.body = await _body(request)
            return await run_in_threadpool(_handle, route, call)
        except ApiError as exc:
            return response_of(exc)
        except ColdFusionError as exc:
            error = as_api_error(exc)
            if error.status >= 500:
                print(f"coldfusion serve: {request.method} {request.url.path}: {exc}", file=sys.stderr)
            return response_of(error)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception:
            traceback.print_exc()
            return response_of(ApiError(500, "This Hub made a mistake; its operator finds it in its log."))

    async def _let_in(self, request: Request, route: Route, params: dict[str, str]) -> Call:
        """Before the body is read: it is for those who may send it, and not too often."""
        try:
            return await run_in_threadpool(self._enter, request, route, params)
        except ApiError:
            await drain(request)  # so that the client gets to read the answer
            raise

    def _enter(self, request: Request, route: Route, params: dict[str, str]) -> Call:
        caller = self._admit(request, route) if route.needs is not Need.KEY else None
        row = repo_of(self.service, request, params, caller) if "namespace" in params else None
        require(self.service, caller, route.needs, row)
        return Call(
            service=self.service, request=request, params=params, needs=route.needs, caller=caller, row=row
        )

    def _admit(self, request: Request, route: Route) -> Person | None:
        """Who calls, unless they have called too often. A guess at a token counts against the address."""
        address = request.client.host if request.client else ""
        try:
            caller = caller_of(self.service, request)
        except ApiError:
            self.service.limiter.take(address, route.kind)
            raise
        request.state.limits = self.service.limiter.take(caller.name if caller else address, route.kind)
        return caller


def _handle(route: Route, call: Call) -> Response:
    assert route.handler is not None
    return route.handler(call)


def _has_body(request: Request) -> bool:
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"


async def _body(request: Request) -> bytes:
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > MAX_JSON:
            raise too_large(f"the body is larger than {MAX_JSON >> 20} MiB")
        pieces.append(piece)
    return b"".join(pieces)
