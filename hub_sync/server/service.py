"""What every request is served from: the store, its people, and how much this Hub allows."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from hub_sync.delivering import Network
from hub_sync.gates import Gates
from hub_sync.people import People
from hub_sync.server.limits import Limiter
from hub_sync.server.parts import Parts
from hub_sync.server.signing import Signer
from hub_sync.store import Store
from hub_sync.webhooks import Deliveries, Webhooks

ARRIVING = "arriving/"
"""How the names begin under which bytes are counted that a request of this process is bringing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How much this Hub allows."""

    max_file_bytes: int = 50_000_000_000  # the client's plain HTTP download takes no larger file
    max_pull_request_bytes: int = 50_000_000_000  # in one pull request; and uncommitted, of who cannot write
    rate_limit: int = 10_000  # API requests of one caller in a window; 0 is no limit
    rate_window: int = 300  # seconds
    webhooks_to: tuple[Network, ...] = ()  # networks that are not public and that webhooks may lead to
    public_url: str = ""  # what people call this Hub; without it the address that it listens on


class Service:
    """One running Hub."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store, self.settings = store, settings
        self.people, self.gates = People(store.database), Gates(store.database)
        self.webhooks = Webhooks(store.database)
        self.deliveries = Deliveries(self.webhooks, self.people, settings.webhooks_to)
        self.public_url = settings.public_url.rstrip("/")
        self.signer = Signer(_key(store), self.people.since)
        self.limiter = Limiter(settings.rate_limit, settings.rate_window)
        self.parts = Parts(store.blobs)
        with store.database.exclusive() as db:  # requests that died with the server have brought nothing
            db.execute("DELETE FROM uploads WHERE sha256 GLOB ?", (f"{ARRIVING}*",))


def _key(store: Store) -> bytes:
    """What this store's upload addresses are signed with; made once, so that they survive a restart."""
    with store.database.exclusive() as db:
        db.execute("INSERT OR IGNORE INTO secrets VALUES ('signing', ?)", (secrets.token_bytes(32),))
        return bytes(db.execute("SELECT value FROM secrets WHERE name = 'signing'").fetchone()["value"])
