"""From what a user types as REPO to a Hub.

A path or file:// URL is a local store; org/name is a repo on the Hub ($HF_ENDPOINT, else huggingface.co); a
full http(s) URL names its endpoint too.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from coldfusion.errors import NotOnHub
from coldfusion.hub import Hub
from hub_sync.local import LocalHub
from hub_sync.pacing import Pacer
from hub_sync.store import MARK

if TYPE_CHECKING:
    from hub_sync.huggingface import HuggingFaceHub

TIMEOUT = 60.0  # seconds
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def open_hub(
    address: str,
    *,
    author: str = "local",
    private: bool = False,
    create: bool = False,
    pacer: Pacer | None = None,
    timeout: float = TIMEOUT,
) -> Hub:
    """The Hub at an address. Raises NotOnHub where there is no local store and `create` does not ask for one.

    author: the account to act as on a local store; a remote one knows it by its token. private: of a remote
    repo that has to be created. timeout: seconds without a byte after which a remote call has failed.
    """
    url = urlparse(address)
    remote = partial(_remote, private=private, pacer=pacer or Pacer(), timeout=timeout)
    if url.scheme in ("http", "https"):
        return remote(url.path.strip("/"), endpoint=f"{url.scheme}://{url.netloc}")
    path = Path(unquote(url.path) if url.scheme == "file" else address).expanduser()
    is_store = (path / MARK).exists()
    if not is_store and _REPO_ID.fullmatch(address):
        return remote(address, endpoint=None)
    if not is_store and not create:
        raise NotOnHub(f"{address}: no local store there; a repo on the Hub is called org/name")
    return LocalHub(path, author=author)


def proposal_address(hub: Hub, number: int) -> str:
    """Where people find a pull request: its page on a remote Hub, its number in a local store."""
    is_remote = urlparse(hub.address).scheme in ("http", "https")
    return f"{hub.address}/discussions/{number}" if is_remote else f"{hub.address} pull request #{number}"


def _remote(
    repo_id: str, *, endpoint: str | None, private: bool, pacer: Pacer, timeout: float
) -> HuggingFaceHub:
    from hub_sync.huggingface import HuggingFaceHub  # slow to import, and not needed for a local store

    return HuggingFaceHub(repo_id, endpoint=endpoint, private=private, pacer=pacer, timeout=timeout)
