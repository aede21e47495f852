"""Requests that bring something this Hub signed, in place of a token: they count like all others."""

from __future__ import annotations

from typing import Any

from hub_sync.server.call import Call
from hub_sync.server.failures import ApiError


def facts_of(call: Call, purpose: str, key: str) -> dict[str, Any]:
    """What was signed, counted as a request of whoever it was signed for; a guess, of the address.

    Raises ApiError.
    """
    take, client = call.service.limiter.take, call.request.client
    try:
        facts = call.service.signer.read(purpose, key)
    except ApiError:
        take(client.host if client else "", "uploads")
        raise
    call.request.state.limits = take(facts["user"], "uploads")
    return facts
