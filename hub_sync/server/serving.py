"""Running it: an address, a line that says so, and a clean stop."""

from __future__ import annotations

import socket
from pathlib import Path

import uvicorn

from coldfusion.errors import ConfigError
from hub_sync.server.app import App
from hub_sync.server.service import Service, Settings
from hub_sync.store import Store


def serve(root: Path, *, host: str, port: int, tls: tuple[Path, Path] | None, settings: Settings) -> None:
    """Serve the store in a folder until SIGTERM or SIGINT. Raises ConfigError where it cannot start."""
    service = Service(Store(root), settings)
    listener = _listen(host, port)
    address = f"{'https' if tls else 'http'}://{_shown(host)}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        App(service),
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        ssl_certfile=tls[0] if tls else None,
        ssl_keyfile=tls[1] if tls else None,
    )
    print(f"coldfusion serve: {root} is at {address} (HF_ENDPOINT={address}); stop with Ctrl-C", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as exc:
        listener.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {exc.strerror}; take another --port") from exc
    return listener


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
