"""From what a user types as REPO to a Hub.

A path or file:// URL is a local store; org/name is a repo on the Hub ($HF_ENDPOINT, else huggingface.co); a
full http(s) URL names its endpoint too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from coldfusion.errors import NotOnHub
from coldfusion.hub import Hub
from hub_sync.local import REPO_ID, LocalHub
from hub_sync.pacing import Pacer
from hub_sync.store import MARK

if TYPE_CHECKING:
    from hub_sync.huggingface import HuggingFaceHub

_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """How a remote Hub is dealt with. A local store needs none of it."""

    private: bool = False  # if the repo has to be created
    pacer: Pacer = field(default_factory=Pacer)
    timeout: float = 60.0  # seconds without a byte after which a call has failed
    cache: Path | None = None  # folder for what is fetched; None: the client's own, for good


def open_hub(
    address: str, *, author: str = "local", create: bool = False, remote: Remote | None = None
) -> Hub:
    """The Hub at an address. Raises NotOnHub where there is no local store and `create` does not ask for one.

    author: the account to act as on a local store; a remote one knows it by its token.
    """
    url, remote = urlparse(address), remote or Remote()
    if url.scheme in ("http", "https"):
        return _hugging_face(url.path.strip("/"), f"{url.scheme}://{url.netloc}", remote)
    path = Path(unquote(url.path) if url.scheme == "file" else address).expanduser()
    is_store = (path / MARK).exists()
    if not is_store and _REPO_ID.fullmatch(address):
        return _hugging_face(address, None, remote)
    if not is_store and not create:
        raise NotOnHub(f"{address}: no local store there; a repo on the Hub is called org/name")
    return LocalHub(path, author=author)


def repo_name(hub: Hub) -> str | None:
    """`org/name`, by which others open it; None for a local store that nobody gave a name."""
    if isinstance(hub, LocalHub):
        return hub.repo_id if hub.repo_id != REPO_ID else None
    url = urlparse(hub.address)
    return "/".join(url.path.split("/")[-2:]) if url.scheme in ("http", "https") else None


def proposal_address(hub: Hub, number: int) -> str:
    """Where people find a pull request: its page on a remote Hub, its number in a local store."""
    is_remote = urlparse(hub.address).scheme in ("http", "https")
    return f"{hub.address}/discussions/{number}" if is_remote else f"{hub.address} pull request #{number}"


def _hugging_face(repo_id: str, endpoint: str | None, remote: Remote) -> HuggingFaceHub:
    from hub_sync.huggingface import HuggingFaceHub  # slow to import, and not needed for a local store

    return HuggingFaceHub(
        repo_id,
        endpoint=endpoint,
        private=remote.private,
        cache=remote.cache,
        timeout=remote.timeout,
        pacer=remote.pacer,
    )
