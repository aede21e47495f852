"""What can go wrong. Every message is one line that names the value and, where there is one, the way out.

ColdFusionError
├── ConfigError              a run was asked for that cannot be
├── DataError                private data or a task cannot be used
├── BaseError                a checkpoint cannot serve as a base
├── StorageError             this machine's disk is in the way: full, read-only, not permitted
├── RoundError               the protocol was broken
│   └── NotYet               the round cannot be fused from what is there
│       └── TooFew           too few contributions are left
├── ContributionError        what a contributor sent cannot be used
│   ├── ManifestError        unreadable, unknown version, digest differs
│   └── TensorMismatch       names, shapes or dtypes differ from the base
└── HubError                 the remote is in the way
    ├── HubUnavailable       try again later
    ├── NoAccess             the token is missing, or may not do this
    ├── StaleParent          someone committed first: read the head, then decide
    └── NotOnHub             no such path, tag, revision or repo
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ColdFusionError(Exception):
    """Root of every error that this project raises on purpose."""


class ConfigError(ColdFusionError):
    """A run was asked for that cannot be."""


class DataError(ColdFusionError):
    """Private data or a task cannot be used."""


class BaseError(ColdFusionError):
    """A checkpoint cannot serve as a base."""


class StorageError(ColdFusionError):
    """This machine's disk is in the way."""


class RoundError(ColdFusionError):
    """The protocol was broken."""


class NotYet(RoundError):
    """The round cannot be fused from what is there; it is tried again when something else is there."""


class TooFew(NotYet):
    """Fewer contributions are left than the round needs."""


class ContributionError(ColdFusionError):
    """What a contributor sent cannot be used."""


class ManifestError(ContributionError):
    """A manifest or record is unreadable, of an unknown version, or does not match its file."""


class TensorMismatch(ContributionError):
    """Names, shapes or dtypes differ from the base's."""


class HubError(ColdFusionError):
    """The Hub is in the way."""


class HubUnavailable(HubError):
    """The Hub does not answer now: try again later. retry_after: seconds, where the Hub says so."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NoAccess(HubError):
    """The token is missing, or may not do this."""


class StaleParent(HubError):
    """Someone committed first: read the head, then decide."""


class NotOnHub(HubError):
    """No such path, tag, revision or repo."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals while `path` is written into `StorageError`, keeping the cause."""
    try:
        yield
    except OSError as exc:
        raise StorageError(f"cannot write {path}: {exc.strerror or exc}") from exc
