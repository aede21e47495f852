"""Who may use a served store: users, their orgs, and tokens of which only the hash is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
import time
from dataclasses import dataclass

from coldfusion.errors import ConfigError
from hub_sync.database import Database
from hub_sync.repos import PREFIXES, is_name

ROLES = ("read", "write", "admin")
"""read: see, open pull requests, comment. write: also commit in one's own namespaces. admin: everywhere."""

_SHORTEST_TOKEN = 16  # characters; one that people make up must not be guessed
_RESERVED = {"api", "models", "xet", *(prefix.rstrip("/") for prefix in PREFIXES.values())}


@dataclass(frozen=True, slots=True, kw_only=True)
class Org:
    """A namespace that several users share."""

    name: str
    fullname: str
    private_repos: bool  # whether a new repo in it is private where nobody says otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user, as one token shows them."""

    name: str
    fullname: str
    role: str
    orgs: tuple[Org, ...]

    @property
    def namespaces(self) -> set[str]:
        """Where their repos may be, in lower case."""
        return {self.name.lower(), *(org.name.lower() for org in self.orgs)}


class People:
    """The users of a store. Changes count at once, also for a server that is running."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def by_token(self, token: str) -> Person | None:
        """Whom a token belongs to."""
        digest = _digest(token)
        with self._database.connection() as db:
            query = "SELECT digest, role, u.* FROM tokens t JOIN users u ON u.name = t.user WHERE digest = ?"
            row = db.execute(query, (digest,)).fetchone()
            if row is None or not hmac.compare_digest(row["digest"], digest):
                return None
            orgs = _orgs_of(db, row["name"])
        return Person(name=row["name"], fullname=row["fullname"], role=row["role"], orgs=orgs)

    def org(self, name: str) -> Org | None:
        """An org by its name."""
        with self._database.connection() as db:
            row = db.execute("SELECT * FROM orgs WHERE name = ?", (name,)).fetchone()
        return _org(row) if row else None

    def has(self, user: str) -> bool:
        """Whether there is such a user."""
        with self._database.connection() as db:
            return db.execute("SELECT 1 FROM users WHERE name = ?", (user,)).fetchone() is not None

    def since(self, user: str) -> float | None:
        """When somebody was added, in seconds since 1970; None where there is no such user any more."""
        with self._database.connection() as db:
            row = db.execute("SELECT created_at FROM users WHERE name = ?", (user,)).fetchone()
        return float(row["created_at"]) if row else None

    def namespaces(self, user: str) -> set[str]:
        """Where a user's repos may be, in lower case; empty where there is no such user any more."""
        with self._database.connection() as db:
            row = db.execute("SELECT name FROM users WHERE name = ?", (user,)).fetchone()
            return {row["name"].lower(), *(org.name.lower() for org in _orgs_of(db, user))} if row else set()

    def all(self) -> list[tuple[Person, list[str]]]:
        """Every user by name, with the roles of their tokens; the person's own is the highest of them."""
        with self._database.connection() as db:
            found = []
            for row in db.execute("SELECT * FROM users ORDER BY name").fetchall():
                tokens = db.execute("SELECT role FROM tokens WHERE user = ?", (row["name"],))
                roles = sorted((token["role"] for token in tokens), key=ROLES.index)
                facts = {"name": row["name"], "fullname": row["fullname"], "role": (roles or [""])[-1]}
                found.append((Person(**facts, orgs=_orgs_of(db, row["name"])), roles))
        return found

    def add(self, person: Person, token: str | None = None) -> str:
        """Add a user, or one more token and more orgs for one; the token, which cannot be had again."""
        _check(person, token)
        token = token or f"hf_{secrets.token_hex(20)}"
        with self._database.exclusive() as db:
            _check_names_are_free(db, person)
            known = (person.name, person.fullname or person.name, time.time())
            db.execute("INSERT OR IGNORE INTO users VALUES (?, ?, ?)", known)
            if person.fullname:
                db.execute("UPDATE users SET fullname = ? WHERE name = ?", (person.fullname, person.name))
            for org in person.orgs:
                _add_org(db, org)
                db.execute("INSERT OR IGNORE INTO members VALUES (?, ?)", (org.name, person.name))
            owner = db.execute("SELECT user FROM tokens WHERE digest = ?", (_digest(token),)).fetchone()
            if owner and owner["user"].lower() != person.name.lower():
                raise ConfigError("this token belongs to somebody else; take another one")
            row = (_digest(token), person.name, person.role, time.time())
            db.execute("INSERT OR REPLACE INTO tokens VALUES (?, ?, ?, ?)", row)
        return token

    def remove(self, name: str) -> None:
        """Take a user and all that was theirs alone away. What they made stays.

        The name may be given to somebody else later, who must not find themselves let in anywhere by it.
        """
        with self._database.exclusive() as db:
            if db.execute("DELETE FROM users WHERE name = ?", (name,)).rowcount == 0:
                raise ConfigError(f"no user {name!r} here; `coldfusion users list` shows who is")
            for table in ("tokens", "members", "access_requests", "webhooks", "uploads", "xet_spaces"):
                db.execute(f"DELETE FROM {table} WHERE user = ?", (name,))


def _digest(token: str) -> str:
    """Tokens are long and random, so a fast hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def _check(person: Person, token: str | None) -> None:
    for name in (person.name, *(org.name for org in person.orgs)):
        if not is_name(name) or name.lower() in _RESERVED:
            raise ConfigError(f"nobody can be called {name!r}: letters, digits, '-', '_' and '.', at most 96")
    if person.role not in ROLES:
        raise ConfigError(f"no role {person.role!r}; known: {', '.join(ROLES)}")
    if token is not None and (len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        raise ConfigError(
            f"a token is {_SHORTEST_TOKEN} ASCII characters or more; without --token one is made"
        )


def _check_names_are_free(db: sqlite3.Connection, person: Person) -> None:
    if db.execute("SELECT 1 FROM orgs WHERE name = ?", (person.name,)).fetchone():
        raise ConfigError(f"{person.name!r} is an org; a user needs a name of their own")
    for org in person.orgs:
        if db.execute("SELECT 1 FROM users WHERE name = ?", (org.name,)).fetchone():
            raise ConfigError(f"{org.name!r} is a user; an org needs a name of its own")


def _add_org(db: sqlite3.Connection, org: Org) -> None:
    db.execute("INSERT OR IGNORE INTO orgs VALUES (?, ?, ?)", (org.name, org.fullname, org.private_repos))
    if org.private_repos:
        db.execute("UPDATE orgs SET private_repos = 1 WHERE name = ?", (org.name,))
    if org.fullname != org.name:
        db.execute("UPDATE orgs SET fullname = ? WHERE name = ?", (org.fullname, org.name))


def _orgs_of(db: sqlite3.Connection, user: str) -> tuple[Org, ...]:
    query = "SELECT o.* FROM orgs o JOIN members m ON m.org = o.name WHERE m.user = ? ORDER BY o.name"
    return tuple(_org(row) for row in db.execute(query, (user,)))


def _org(row: sqlite3.Row) -> Org:
    return Org(name=row["name"], fullname=row["fullname"], private_repos=bool(row["private_repos"]))
