"""huggingface_hub's HTTP session with a time limit and a pacer. As it comes, it waits for ever."""

from __future__ import annotations

from typing import Any

from huggingface_hub import set_client_factory
from huggingface_hub.utils._http import default_client_factory

from hub_sync.pacing import Pacer


def use_session(pacer: Pacer, *, timeout: float) -> None:
    """Make every call of this process keep to the pacer and the limit: the client has one session for all."""
    set_client_factory(lambda: _client(pacer, timeout))


def _client(pacer: Pacer, timeout: float) -> Any:
    client = default_client_factory()

    def before(request: Any) -> None:
        # Some of its methods ask for no limit by name, so that one of the session would be overruled.
        asked = request.extensions.get("timeout", {})
        parts = ("connect", "read", "write", "pool")
        request.extensions["timeout"] = {part: asked.get(part) or timeout for part in parts}
        pacer.before(str(request.url))

    def after(response: Any) -> None:
        pacer.after(str(response.request.url), response.headers)

    hooks = client.event_hooks
    client.event_hooks = {"request": [*hooks["request"], before], "response": [*hooks["response"], after]}
    return client
