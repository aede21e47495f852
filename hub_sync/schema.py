"""The tables of the store's SQLite file.

A repo is named by its key everywhere: `namespace/name` for a model, with `datasets/` or `spaces/` before it
for the others. Times are seconds since 1970.
"""

from __future__ import annotations

VERSION = 1  # of the schema, in PRAGMA user_version; 0 is a store made before there was a table of repos

SCHEMA = """
CREATE TABLE IF NOT EXISTS repos (
    key TEXT PRIMARY KEY COLLATE NOCASE, private INTEGER NOT NULL, gated TEXT NOT NULL,
    discussions_disabled INTEGER NOT NULL, created_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS redirects (  -- done = 0: the move was not finished yet
    old TEXT PRIMARY KEY COLLATE NOCASE, new TEXT NOT NULL, done INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS discussions (
    repo TEXT NOT NULL, number INTEGER NOT NULL, title TEXT NOT NULL, author TEXT NOT NULL,
    status TEXT NOT NULL, is_pull_request INTEGER NOT NULL, created_at REAL NOT NULL,
    PRIMARY KEY (repo, number)
);
CREATE TABLE IF NOT EXISTS pull_requests (
    repo TEXT NOT NULL, number INTEGER NOT NULL, base TEXT NOT NULL, merge_commit TEXT,
    PRIMARY KEY (repo, number)
);
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, repo TEXT NOT NULL, number INTEGER NOT NULL, type TEXT NOT NULL,
    author TEXT NOT NULL, created_at REAL NOT NULL, data TEXT NOT NULL,
    FOREIGN KEY (repo, number) REFERENCES discussions (repo, number)
);
CREATE INDEX IF NOT EXISTS events_of ON events (repo, number);

CREATE TABLE IF NOT EXISTS users (
    name TEXT PRIMARY KEY COLLATE NOCASE, fullname TEXT NOT NULL, created_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS orgs (
    name TEXT PRIMARY KEY COLLATE NOCASE, fullname TEXT NOT NULL, private_repos INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS members (
    org TEXT NOT NULL COLLATE NOCASE, user TEXT NOT NULL COLLATE NOCASE, PRIMARY KEY (org, user)
);
CREATE TABLE IF NOT EXISTS tokens (  -- sha256 of the token; the token itself is never stored
    digest TEXT PRIMARY KEY, user TEXT NOT NULL COLLATE NOCASE, role TEXT NOT NULL, created_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS access_requests (  -- to gated repos
    id INTEGER PRIMARY KEY, repo TEXT NOT NULL, user TEXT NOT NULL COLLATE NOCASE, status TEXT NOT NULL,
    created_at REAL NOT NULL, fields TEXT NOT NULL, UNIQUE (repo, user)
);
CREATE TABLE IF NOT EXISTS webhooks (
    id TEXT PRIMARY KEY, user TEXT NOT NULL COLLATE NOCASE, url TEXT NOT NULL, watched TEXT NOT NULL,
    domains TEXT NOT NULL, secret TEXT NOT NULL, disabled INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS uploads (  -- blobs that somebody uploaded and nobody committed yet
    sha256 TEXT NOT NULL, user TEXT NOT NULL COLLATE NOCASE, size INTEGER NOT NULL, created_at REAL NOT NULL,
    PRIMARY KEY (sha256, user)
);
CREATE TABLE IF NOT EXISTS xet_spaces (  -- where one user's upload through Xet to one repo lies
    id TEXT PRIMARY KEY, user TEXT NOT NULL COLLATE NOCASE, repo TEXT NOT NULL, done INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""
