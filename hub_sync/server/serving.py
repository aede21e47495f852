"""Running it: an address, a line that says so, sweeping now and then, and a clean stop."""

from __future__ import annotations

import signal
import socket
import ssl
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from coldfusion.errors import ColdFusionError, ConfigError
from hub_sync.server.app import App
from hub_sync.server.fastlane import Protocol
from hub_sync.server.service import Service, Settings
from hub_sync.store import Store

SWEEP_EVERY = 3600  # seconds
LAST_CALL = 10  # seconds that running requests get at the end
LINE = 128  # connections that may wait to be accepted


def serve(root: Path, *, host: str, port: int, tls: tuple[Path, Path] | None, settings: Settings) -> None:
    """Serve the store in a folder until SIGTERM or SIGINT. Raises ConfigError where it cannot start."""
    store = Store(root)
    service = Service(store, settings)
    config = uvicorn.Config(
        App(service),
        http=Protocol,
        lifespan="off",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LAST_CALL,
        ssl_certfile=tls[0] if tls else None,
        ssl_keyfile=tls[1] if tls else None,
    )
    try:
        config.load()
    except (ssl.SSLError, OSError) as exc:
        raise ConfigError(f"cannot serve https with {tls and tls[0]} and {tls and tls[1]}: {exc}") from exc
    listener = _listen(host, port)
    address = f"{'https' if tls else 'http'}://{_shown(host)}:{listener.getsockname()[1]}"
    service.public_url = service.public_url or address
    threading.Thread(target=_sweep, args=(store,), daemon=True, name="sweeper").start()
    print(f"coldfusion serve: {root} is at {address} (HF_ENDPOINT={address}); stop with Ctrl-C", flush=True)
    _Server(config).run(sockets=[listener])
    print("coldfusion serve: stopped", flush=True)


class _Server(uvicorn.Server):
    """Stops on a signal and then returns, as a command does that was told to end."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, self.handle_exit) for number in signals]
        yield
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def _sweep(store: Store) -> None:
    """Free what nobody will come back for; at once, because a crash may have left something."""
    while True:
        try:
            store.sweep()
        except ColdFusionError as exc:
            print(f"coldfusion serve: sweeping failed: {exc}", file=sys.stderr)
        except Exception:  # whatever it was, the next sweep has to come
            print("coldfusion serve: sweeping failed:", file=sys.stderr)
            traceback.print_exc()
        threading.Event().wait(SWEEP_EVERY)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, or asyncio leaves Nagle's algorithm on: 40 ms more for every request.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(LINE)
    except OSError as exc:
        listener.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {exc.strerror}; take another --port") from exc
    return listener


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
