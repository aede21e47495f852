"""From a method and a raw path to a handler.

Paths are matched before they are unquoted: a revision such as refs%2Fpr%2F1 is one segment, and so is a
path within a repo.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING
from urllib.parse import unquote

from starlette.responses import Response

from hub_sync.server.failures import ApiError, no_repo

if TYPE_CHECKING:
    from hub_sync.server.call import Call

Handler = Callable[["Call"], Response]
StreamHandler = Callable[["Call"], Awaitable[Response]]


class Need(Enum):
    """What a caller has to be for a route. Each includes the ones before it, from SEE on of the repo."""

    KEY = 0  # something that this Hub signed, in place of a token
    NOTHING = 1
    PERSON = 2
    SEE = 3  # the repo is visible to them
    SPEAK = 4  # a person who may read what is in the repo: they discuss, upload, open pull requests
    WRITE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One call of the protocol. A `stream` handler reads the body itself, piece by piece."""

    method: str
    pattern: str
    handler: Handler | None = None
    stream: StreamHandler | None = None
    needs: Need = Need.SEE
    kind: str = "api"  # as what it is counted by the limiter


_SEGMENT = "[^/]+"
_REVISION = r"refs/(?:pr|convert)/[^/]+|[^/]+"
_PIECES = {
    "{api}": rf"/api/(?P<kinds>models|datasets|spaces)/(?P<namespace>{_SEGMENT})/(?P<name>{_SEGMENT})",
    "{web}": rf"/(?P<kinds>datasets/|spaces/)?(?P<namespace>{_SEGMENT})/(?P<name>{_SEGMENT}?)",
    "{revision}": f"(?P<revision>{_REVISION})",
    "{path}": "(?P<path>.*)",
    "{number}": "(?P<number>[0-9]{1,9})",
    "{sha256}": "(?P<sha256>[0-9a-f]{64})",
}


class Router:
    """All routes, in the order in which they are tried."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = [(_compiled(route.pattern), route) for route in routes]

    def match(self, method: str, raw_path: str) -> tuple[Route, dict[str, str]]:
        """The route and its unquoted parameters. Raises ApiError."""
        others = set()
        for pattern, route in self._routes:
            if found := pattern.fullmatch(raw_path):
                if route.method == method or (route.method, method) == ("GET", "HEAD"):
                    return route, {k: unquote(v) for k, v in found.groupdict().items() if v is not None}
                others.add(route.method)
        if others:
            raise ApiError(
                405, f"{method} is not for this path", headers={"Allow": ", ".join(sorted(others))}
            )
        if re.match(r"/api/(models|datasets|spaces)/|.*/resolve/", raw_path):
            raise no_repo()
        raise ApiError(404, "This Hub has no such page")


def _compiled(pattern: str) -> re.Pattern[str]:
    """`{api}` and its like stand for what is above, any other {name} for one segment."""
    for piece, expression in _PIECES.items():
        pattern = pattern.replace(piece, expression)
    return re.compile(re.sub(r"\{([a-z_]+)\}", rf"(?P<\1>{_SEGMENT})", pattern))
