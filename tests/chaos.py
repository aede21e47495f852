"""A proxy that treats its clients the way a hosted service does on a bad day: seeded, at a rate.

Faults before the request is passed on: 429 with Retry-After, 500, 503, a reset, a hang. Faults after it was
carried out: the reply is cut off in the middle, or lost altogether.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlparse

BEFORE = ("429", "500", "503", "reset", "hang")
AFTER = ("truncated", "lost")
HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-connection"}
PIECE = 1 << 16


class ChaosProxy:
    """Passes HTTP on to `target` on a port of its own, until `close`."""

    def __init__(self, target: str, *, rate: float, seed: int, hang: float = 3.0) -> None:
        self.target, self.rate, self.hang = urlparse(target), rate, hang
        self.faults: Counter[str] = Counter()
        self.seen: list[tuple[str, bytes]] = []  # what was asked, with its headers, and the body
        self._rng, self._lock = random.Random(seed), threading.Lock()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fault(self) -> str | None:
        """What befalls the next request."""
        with self._lock:
            kind = self._rng.choice(BEFORE + AFTER) if self._rng.random() < self.rate else None
            self.faults[kind or "none"] += 1
        return kind

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    proxy: ChaosProxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or the second part of an answer waits 40 ms for word of the first

    def handle_one_request(self) -> None:
        with suppress(ConnectionError, TimeoutError):
            super().handle_one_request()
            return
        self.close_connection = True

    def _any(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self._chunked() if self.headers.get("transfer-encoding") else self.rfile.read(length)
        self.proxy.seen.append((f"{self.command} {self.path}\n{self.headers}", body))
        fault = self.proxy.fault()
        if fault in BEFORE:
            self._refuse(fault)
        else:
            self._pass_on(body, fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = _any

    def _refuse(self, fault: str) -> None:
        if fault == "hang":
            time.sleep(self.proxy.hang)
        if fault in ("hang", "reset"):
            self._reset()
            return
        self.send_response(int(fault))
        if fault == "429":
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _pass_on(self, body: bytes, fault: str | None) -> None:
        connection = HTTPConnection(self.proxy.target.hostname or "", self.proxy.target.port)
        # The Host stays ours, so that the addresses in the server's answers lead through here too.
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
        headers["Content-Length"] = str(len(body))
        connection.request(self.command, self.path, body=body, headers=headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        if fault == "lost":
            self._reset()
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP | {"content-length"}:
                self.send_header(name, value)
        length = answer.getheader("content-length") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if fault == "truncated" else data)
        self.wfile.flush()
        if fault == "truncated":
            self._reset()

    def _chunked(self) -> bytes:
        data = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _reset(self) -> None:
        """Close so that the other side sees a reset, not an end."""
        linger = struct.pack("ii", 1, 0)
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass
