"""What huggingface_hub raises, as errors of ours. Foreign errors end here; the cause is kept."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from json import JSONDecodeError

from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # httpx2 since 2.0

from coldfusion.errors import (
    ColdFusionError,
    HubError,
    HubUnavailable,
    NoAccess,
    NotOnHub,
    StaleParent,
    StorageError,
)

Translate = Callable[[str, Exception], ColdFusionError]
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE}
HERE = {errno.ENOENT, errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EINVAL}
"""What this machine says of a path: trying again later does not help."""


@contextmanager
def translating(action: str) -> Iterator[None]:
    """Turn huggingface_hub's errors, and those of what it is made of, into ours. The cause is kept."""
    try:
        yield
    except HubError:
        raise
    except Exception as exc:
        for kinds, translate in KINDS:
            if isinstance(exc, kinds):
                raise translate(action, exc) from exc
        raise


def _of_status(action: str, exc: Exception) -> ColdFusionError:
    """The Hub answered, but not with what was asked for."""
    assert isinstance(exc, HfHubHTTPError)
    status, said = exc.response.status_code, _said(exc)
    if status == 401:
        return NoAccess(
            f"{action}: no token, or not a good one; run `hf auth login` or set HF_TOKEN ({said})"
        )
    if status == 403:
        return NoAccess(f"{action}: this token may not do that; is it read-only? ({said})")
    if status == 412:
        return StaleParent(f"{action}: somebody else committed first")
    if status == 404:
        return NotOnHub(f"{action}: {said}")
    if status in (408, 429) or status >= 500:
        wait = exc.response.headers.get("retry-after", "")
        return HubUnavailable(f"{action}: {said}", retry_after=float(wait) if wait.isdigit() else None)
    return HubError(f"{action}: {said}")


def _no_repo(action: str, exc: Exception) -> ColdFusionError:
    """The Hub does not tell a repo that is not there from one that is hidden."""
    assert isinstance(exc, HfHubHTTPError)
    if "authorization" in exc.response.request.headers:
        return NotOnHub(f"{action}: no such repo, or it is private and this token does not open it")
    return NoAccess(f"{action}: no such repo, or it is private: run `hf auth login` or set HF_TOKEN")


def _away(action: str, exc: Exception) -> ColdFusionError:
    return HubUnavailable(f"{action}: {_one_line(exc.__cause__ or exc)}")


def _of_the_system(action: str, exc: Exception) -> ColdFusionError:
    number = exc.errno if isinstance(exc, OSError) else None
    if number in DISK:
        return StorageError(f"{action}: this machine's disk refuses: {os.strerror(number or 0)}")
    if number in HERE:
        return HubError(f"{action}: {_one_line(exc)}")
    return _away(action, exc)


def _says(kind: type[ColdFusionError], text: str) -> Translate:
    return lambda action, exc: kind(f"{action}: {text}")


def _said(exc: Exception) -> str:
    """What the Hub itself had to say."""
    return str(getattr(exc, "server_message", None) or _one_line(exc))


def _one_line(exc: BaseException) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[0] if lines else type(exc).__name__


KINDS: list[tuple[type[Exception] | tuple[type[Exception], ...], Translate]] = [
    (GatedRepoError, _says(NoAccess, "the repo is gated; ask for access on its page, with this account")),
    (LocalEntryNotFoundError, _away),  # not in the cache, and the Hub did not answer
    (RepositoryNotFoundError, _no_repo),
    ((RevisionNotFoundError, EntryNotFoundError), lambda action, exc: NotOnHub(f"{action}: {_said(exc)}")),
    (LocalTokenNotFoundError, _says(NoAccess, "no token; run `hf auth login` or set HF_TOKEN")),
    (OfflineModeIsEnabled, _says(HubUnavailable, "HF_HUB_OFFLINE is set; unset it to reach a Hub")),
    (HfHubHTTPError, _of_status),
    (HFValidationError, lambda action, exc: HubError(f"{action}: {_one_line(exc)}")),
    (OSError, _of_the_system),
    # A body that was cut off is no JSON, or lacks a key; hf_xet raises RuntimeError, whatever happened to it.
    ((httpx.HTTPError, JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, RuntimeError), _away),
    (ValueError, lambda action, exc: HubError(f"{action}: {_one_line(exc)}")),  # the client refuses a name
]
"""The first kind that fits decides: some of them are kinds of others."""
