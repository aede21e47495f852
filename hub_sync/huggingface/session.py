"""huggingface_hub's HTTP session with a time limit and a pacer. As it comes, it waits for ever."""

from __future__ import annotations

from typing import Any

from huggingface_hub import set_client_factory
from huggingface_hub.utils import _http

from hub_sync.pacing import Pacer


def use_session(pacer: Pacer, *, timeout: float) -> None:
    """Make every call of this process keep to the pacer and the limit: the client has one session for all."""
    used = getattr(_http, "_GLOBAL_CLIENT_FACTORY", None)
    if isinstance(used, _Session) and used.pacer is pacer and used.timeout == timeout:
        return  # to set it again would cut off what is under way
    set_client_factory(_Session(pacer, timeout))


class _Session:
    """Makes the client's session."""

    def __init__(self, pacer: Pacer, timeout: float) -> None:
        self.pacer, self.timeout = pacer, timeout

    def __call__(self) -> Any:
        client = _http.default_client_factory()
        hooks = client.event_hooks
        client.event_hooks = {
            "request": [*hooks["request"], self._before],
            "response": [*hooks["response"], self._after],
        }
        return client

    def _before(self, request: Any) -> None:
        # Some of its methods ask for no limit by name, so that one of the session would be overruled.
        asked = request.extensions.get("timeout", {})
        parts = ("connect", "read", "write", "pool")
        request.extensions["timeout"] = {part: asked.get(part) or self.timeout for part in parts}
        self.pacer.before(str(request.url))

    def _after(self, response: Any) -> None:
        self.pacer.after(str(response.request.url), response.headers)
