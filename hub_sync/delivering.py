"""One payload on its way to an address that somebody else chose.

This Hub may reach more than they can: its own machine, the network around it, what a proxy opens. So it sends
to public addresses and to those that its operator named, asks the name of a host once and looks at what it
connects to, uses no proxy, follows no redirect, and gives up in time whatever the other side does.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

Network = IPv4Network | IPv6Network
PATIENCE = 10.0  # seconds for all of it, but for the name of the host
LONGEST = 2048  # characters of an address
_PORTS = {"http": 80, "https": 443}
_TRANSLATED = IPv6Network("64:ff9b::/96")  # the address of an IPv4 host, for those who have only IPv6


class Refused(OSError):
    """This Hub does not send there."""


def checked_url(url: object) -> SplitResult:
    """The parts of an http(s) address. Raises ValueError where it is none."""
    if not isinstance(url, str) or not re.fullmatch(f"[!-~]{{1,{LONGEST}}}", url):
        raise ValueError(f"{url!r} is not a text of printable ASCII")
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc or parts.port == 0:
        raise ValueError(f"{url!r} is no http(s) address")
    return parts


def post(url: str, body: bytes, *, secret: str, allowed: Sequence[Network]) -> None:
    """Send it. Raises OSError and ValueError where it did not arrive."""
    parts, ends = checked_url(url), time.monotonic() + PATIENCE
    host = parts.hostname or ""
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nX-Webhook-Secret: {secret}\r\nConnection: close\r\n\r\n"
    )
    connection = _connect(host, parts.port or _PORTS[parts.scheme], allowed, ends)
    try:
        if parts.scheme == "https":
            connection = _context().wrap_socket(connection, server_hostname=host)
        connection.settimeout(_left(ends))
        connection.sendall(head.encode() + body)
        status = _status(connection, ends)
    finally:
        connection.close()
    if not re.match(rb"HTTP/1\.[01] 2\d\d", status):
        raise OSError(f"the answer was {status[:40]!r}")


def may_reach(address: str, allowed: Sequence[Network]) -> bool:
    """Whether it is public, or the operator said so."""
    found = _meant(ip_address(address))
    return (found.is_global and not found.is_multicast) or any(found in network for network in allowed)


def _meant(found: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for."""
    if isinstance(found, IPv6Address):
        translated = IPv4Address(int(found) & 0xFFFFFFFF) if found in _TRANSLATED else None
        return found.ipv4_mapped or found.sixtofour or translated or found
    return found


def _connect(host: str, port: int, allowed: Sequence[Network], ends: float) -> socket.socket:
    problem: OSError = Refused(f"{host} is not a public address, and not one that --webhooks-to allows")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        if may_reach(str(address[0]), allowed):
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(_left(ends))
                connection.connect(address)
                return connection
            except OSError as exc:
                connection.close()
                problem = exc
    raise problem


def _status(connection: socket.socket, ends: float) -> bytes:
    """The first line of the answer."""
    found = b""
    while b"\n" not in found and len(found) < 1024:
        connection.settimeout(_left(ends))
        piece = connection.recv(1024)
        if not piece:
            break
        found += piece
    return found.split(b"\r\n")[0]


def _left(ends: float) -> float:
    if (left := ends - time.monotonic()) <= 0:
        raise TimeoutError(f"not delivered in {PATIENCE:g} s")
    return left


@lru_cache(maxsize=1)
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()
