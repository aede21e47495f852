"""Who wants to be told about what, in SQLite, and the telling, in threads of its own.

A webhook is a hint to look, not a record: what cannot be delivered after a few tries is dropped, and so is
what comes for the same webhook in the next minutes.
"""

from __future__ import annotations

import json
import queue
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hub_sync.database import Database
from hub_sync.delivering import Network, Refused, post
from hub_sync.people import People
from hub_sync.repos import RepoRow
from hub_sync.texts import from_store

DOMAINS = ("repo", "discussion")
TRIES = 3
REST, LONGEST_REST = 60.0, 86400.0  # seconds after what could not be delivered; twice as long each time
MOST_RESTING = 10_000  # that are remembered in one line
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

    In several lines, so that an address that does not answer delays few others. allowed: networks that are
    not public and that it may send to all the same.
    """

    def __init__(self, webhooks: Webhooks, people: People, allowed: Sequence[Network] = ()) -> None:
        self._webhooks, self._people = webhooks, people
        self._waiting = [queue.Queue[tuple[Webhook, bytes]](BACKLOG) for _ in range(LINES)]
        for line in self._waiting:
            deliver = _Line(line, allowed).deliver
            threading.Thread(target=deliver, daemon=True, name="webhooks").start()

    def send(self, repo: RepoRow, payload: Mapping[str, Any]) -> None:
        """Tell everybody who wants to know and may: a private repo's news are for its owner's webhooks."""
        for webhook in self._webhooks.all():
            theirs = self._people.namespaces(webhook.user)
            may_know = theirs if not repo.private else theirs & {repo.namespace.lower()}
            if may_know and webhook.wants(repo, payload["event"]["scope"]):
                whole = {**payload, "webhook": {"id": webhook.id, "version": 3}}
                with suppress(queue.Full):
                    line = self._waiting[int(webhook.id, 16) % LINES]
                    line.put_nowait((webhook, json.dumps(whole).encode()))


@dataclass(slots=True)
class _Line:
    """Payloads one after the other. Nothing that an address does ends it."""

    waiting: queue.Queue[tuple[Webhook, bytes]]
    allowed: Sequence[Network]
    resting: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)  # until when, how long

    def deliver(self) -> None:
        while True:
            webhook, body = self.waiting.get()
            who = (webhook.id, webhook.url)
            until, rest = self.resting.get(who, (0.0, REST / 2))
            if until > time.monotonic():
                continue
            self.resting.pop(who, None)
            if not self._arrives(webhook, body):
                rest = min(2 * rest, LONGEST_REST)
                if len(self.resting) >= MOST_RESTING:
                    self.resting.clear()
                self.resting[who] = (time.monotonic() + rest, rest)

    def _arrives(self, webhook: Webhook, body: bytes) -> bool:
        for attempt in range(TRIES):
            try:
                post(webhook.url, body, secret=webhook.secret, allowed=self.allowed)
                return True
            except Exception as exc:  # whatever it is, the others have to be told
                problem, is_final = exc, isinstance(exc, Refused | ValueError)
            if is_final:
                break
            time.sleep(2.0**attempt)
        print(f"coldfusion serve: webhook {webhook.id} of {webhook.user}: {problem!r}", file=sys.stderr)
        return False


def new_id() -> str:
    """Of a webhook."""
    return uuid.uuid4().hex[:24]


def _webhook(row: sqlite3.Row) -> Webhook:
    listed = {name: from_store(row[name]) for name in ("watched", "domains")}
    known = {name: row[name] for name in ("id", "user", "url", "secret")}
    return Webhook(**known, **listed, disabled=bool(row["disabled"]))
