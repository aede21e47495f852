"""From what a user types as REPO to a Hub."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlparse

from coldfusion.errors import NotOnHub
from coldfusion.hub import Hub
from hub_sync.local import LocalHub
from hub_sync.store import MARK


def open_hub(address: str) -> Hub:
    """The Hub at an address: the path or file:// URL of a local store.

    Raises NotOnHub where there is none.
    """
    path = Path(unquote(urlparse(address).path)) if address.startswith("file://") else Path(address)
    if not (path / MARK).exists():
        raise NotOnHub(f"{address}: no local store there")
    return LocalHub(path)
