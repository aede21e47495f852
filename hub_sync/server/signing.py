"""Addresses that prove by themselves what they allow: the client sends no token with an upload."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

from hub_sync.server.failures import ApiError

LIFE = 24 * 3600  # seconds that a signed statement is good for


class Signer:
    """Signs statements and reads them back.

    since: when a user came here, None for those who are not here. Whoever is removed takes along what was
    signed for them, also when somebody of their name comes later.
    """

    def __init__(self, key: bytes, since: Callable[[str], float | None]) -> None:
        self._key, self._since = key, since

    def sign(self, purpose: str, **facts: str | int) -> str:
        """A text that only this Hub can make, good for one purpose, for a while, and for facts["user"]."""
        since, until = self._since(str(facts["user"])), int(time.time()) + LIFE
        whole = {**facts, "since": since, "for": purpose, "until": until}
        body = (
            base64.urlsafe_b64encode(json.dumps(whole, separators=(",", ":")).encode()).decode().rstrip("=")
        )
        return f"{body}.{self._mac(body)}"

    def read(self, purpose: str, signed: str) -> dict[str, Any]:
        """The facts in a text that this Hub signed for this purpose. Raises ApiError."""
        body, _, mac = signed.partition(".")
        if not body.isascii() or not hmac.compare_digest(mac.encode(), self._mac(body).encode()):
            raise ApiError(403, "This address was not signed by this Hub")
        facts: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        if facts["for"] != purpose or facts["until"] < time.time():
            raise ApiError(403, "This address is not good any more: start the upload again")
        since = self._since(facts["user"])
        if since is None or since != facts.get("since"):
            raise ApiError(403, f"{facts['user']}, for whom this address was signed, is not here any more")
        return facts

    def _mac(self, body: str) -> str:
        return hmac.new(self._key, body.encode(), hashlib.sha256).hexdigest()
