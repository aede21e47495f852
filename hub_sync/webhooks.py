"""Who wants to be told about what, in SQLite, and the telling, in a thread of its own.

A webhook is a hint to look, not a record: what cannot be delivered after a few tries is dropped.
"""

from __future__ import annotations

import json
import queue
import sqlite3
import threading
import time
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hub_sync.database import Database
from hub_sync.people import People
from hub_sync.repos import RepoRow

DOMAINS = ("repo", "discussion")
TRIES, PATIENCE = 3, 10.0  # and seconds to wait for an answer
LINES = 4  # in which payloads wait
BACKLOG = 2_500  # payloads in one of them; more are dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An address that is told about repos of some users, orgs or single repos."""

    id: str
    user: str
    url: str
    watched: Sequence[
        Mapping[str, str]
    ]  # {"type": "user" | "org" | "model" | "dataset" | "space", "name": ...}
    domains: Sequence[str]
    secret: str
    disabled: bool = False

    def wants(self, repo: RepoRow, scope: str) -> bool:
        """Whether this is one of its repos and domains."""
        names = {(item.get("type"), str(item.get("name")).lower()) for item in self.watched}
        owner = repo.namespace.lower()
        here = {("user", owner), ("org", owner), (repo.kind, repo.id.lower())}
        return not self.disabled and scope.split(".")[0] in self.domains and bool(names & here)


class Webhooks:
    """The webhooks of everybody."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Webhook]:
        with self._database.connection() as db:
            return [_webhook(row) for row in db.execute("SELECT * FROM webhooks")]

    def save(self, webhook: Webhook) -> None:
        """Add or change one."""
        w = webhook
        row = (w.id, w.user, w.url, json.dumps(w.watched), json.dumps(w.domains), w.secret, w.disabled)
        with self._database.exclusive() as db:
            db.execute("INSERT OR REPLACE INTO webhooks VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def remove(self, webhook_id: str) -> None:
        with self._database.exclusive() as db:
            db.execute("DELETE FROM webhooks WHERE id = ?", (webhook_id,))


class Deliveries:
    """Sends payloads, those of one webhook in their order, without anybody waiting for it.

    In several lines, so that an address that does not answer delays few others.
    """

    def __init__(self, webhooks: Webhooks, people: People) -> None:
        self._webhooks, self._people = webhooks, people
        self._waiting = [queue.Queue[tuple[Webhook, bytes]](BACKLOG) for _ in range(LINES)]
        for line in self._waiting:
            threading.Thread(target=_deliver, args=(line,), daemon=True, name="webhooks").start()

    def send(self, repo: RepoRow, payload: Mapping[str, Any]) -> None:
        """Tell everybody who wants to know and may: a private repo's news are for its owner's webhooks."""
        for webhook in self._webhooks.all():
            theirs = self._people.namespaces(webhook.user)
            may_know = theirs if not repo.private else theirs & {repo.namespace.lower()}
            if may_know and webhook.wants(repo, payload["event"]["scope"]):
                whole = {**payload, "webhook": {"id": webhook.id, "version": 3}}
                line = self._waiting[int(webhook.id, 16) % LINES]
                if not line.full():
                    line.put((webhook, json.dumps(whole).encode()))


def _deliver(line: queue.Queue[tuple[Webhook, bytes]]) -> None:
    opener = urllib.request.build_opener(_NoRedirect)
    while True:
        webhook, body = line.get()
        headers = {"Content-Type": "application/json", "X-Webhook-Secret": webhook.secret}
        for attempt in range(TRIES):
            request = urllib.request.Request(webhook.url, data=body, headers=headers, method="POST")
            try:
                opener.open(request, timeout=PATIENCE).close()
                break
            except (OSError, ValueError):
                time.sleep(2.0**attempt)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A webhook goes where its owner said, and nowhere else."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def new_id() -> str:
    """Of a webhook."""
    return uuid.uuid4().hex[:24]


def _webhook(row: sqlite3.Row) -> Webhook:
    listed = {name: json.loads(row[name]) for name in ("watched", "domains")}
    known = {name: row[name] for name in ("id", "user", "url", "secret")}
    return Webhook(**known, **listed, disabled=bool(row["disabled"]))
