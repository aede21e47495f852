"""A Hub that keeps its files elsewhere: it redirects to addresses that are signed and good for a while."""

from __future__ import annotations

import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlparse

PASSED_ON = ("content-range", "content-type", "x-repo-commit", "etag", "x-error-code", "x-error-message")


class Redirecting:
    """Passes a Hub on, but for its files: those are at `store`, and every address is good `uses` times."""

    def __init__(self, target: str, token: str, *, uses: int) -> None:
        self.target, self.token, self.uses = urlparse(target).netloc, token, uses
        self.left: dict[str, int] = {}  # signature -> how often it is good yet
        self.seen: list[str] = []  # "hub ..." and "store ...", as they were asked
        self.leaked = False  # whether a token was sent to the store
        self._servers = [self._serve(_Hub), self._serve(_Store)]
        self.url, self.store = (f"http://127.0.0.1:{one.server_address[1]}" for one in self._servers)

    def ask(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection(self.target)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        kept = {name: value for name, value in answer.getheaders() if name.lower() in PASSED_ON}
        return answer.status, kept, data

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _serve(self, kind: type[_Handler]) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (kind,), {"hub": self}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server


class _Handler(BaseHTTPRequestHandler):
    hub: Redirecting
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or the second part of an answer waits 40 ms for word of the first

    def answer(self, status: int, headers: dict[str, str], data: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


class _Hub(_Handler):
    def do_GET(self) -> None:
        self.hub.seen.append(f"hub {self.path}")
        if "/resolve/" in self.path:
            signature = f"s{len(self.hub.left)}"
            self.hub.left[signature] = self.hub.uses
            self.answer(302, {"Location": f"{self.hub.store}/{signature}{self.path}"})
        else:
            token = self.headers.get("authorization")
            self.answer(*self.hub.ask("GET", self.path, {"Authorization": token} if token else {}))


class _Store(_Handler):
    def do_GET(self) -> None:
        _, signature, path = self.path.split("/", 2)
        self.hub.seen.append(f"store {signature}")
        self.hub.leaked |= "authorization" in self.headers
        self.hub.left[signature] -= 1
        if self.hub.left[signature] < 0:
            self.answer(
                403, {}, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
            )
            return
        asked = {"Authorization": f"Bearer {self.hub.token}", "Range": self.headers["range"]}
        self.answer(*self.hub.ask("GET", f"/{path}", asked))
