"""A file server as plain as can be: PUT stores a file, GET returns it. What serving files costs at least."""

from __future__ import annotations

import shutil
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, AnyStr

if TYPE_CHECKING:
    from _typeshed import SupportsRead, SupportsWrite

PIECE = 1 << 20  # bytes


class Handler(SimpleHTTPRequestHandler):
    """The standard library's own file server, and PUT."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        left = int(self.headers["Content-Length"])
        with open(self.translate_path(self.path), "wb") as file:
            while left and (piece := self.rfile.read(min(PIECE, left))):
                left -= file.write(piece)
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def copyfile(self, source: SupportsRead[AnyStr], outputfile: SupportsWrite[AnyStr]) -> None:
        shutil.copyfileobj(source, outputfile, PIECE)

    def log_message(self, *args: object) -> None:
        """Quietly."""


def main(folder: Path) -> None:
    """Serve a folder on a free port and print its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: Handler(*args, directory=str(folder))) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
