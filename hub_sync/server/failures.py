"""What the client is told when something cannot be done, in the form that it understands."""

from __future__ import annotations

import errno
import re
import sqlite3
import uuid
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from coldfusion.errors import ColdFusionError, HubError, NotOnHub, StaleParent, StorageError
from hub_sync.texts import mended

STALE = "The branch was updated since you opened this page. Please refresh and try again."


class ApiError(Exception):
    """An answer that is no success. `code` is what the client turns into an exception class."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.headers, self.body = headers or {}, body or {}


def bad_request(message: str) -> ApiError:
    return ApiError(400, message)


def forbidden(message: str) -> ApiError:
    return ApiError(403, message)


def conflict(message: str) -> ApiError:
    return ApiError(409, message)


def too_large(message: str) -> ApiError:
    return ApiError(413, message)


def unprocessable(message: str) -> ApiError:
    return ApiError(422, message)


def no_repo() -> ApiError:
    """Not there, or not to be seen: nobody learns which."""
    return ApiError(404, "Repository not found", code="RepoNotFound")


def no_revision(revision: str) -> ApiError:
    return ApiError(404, f"Invalid rev id: {revision}", code="RevisionNotFound")


def no_entry(path: str, headers: Mapping[str, str] | None = None) -> ApiError:
    return ApiError(404, f"Entry not found: {path}", code="EntryNotFound", headers=headers)


def unknown(what: str) -> ApiError:
    return ApiError(404, f"{what} not found")


def as_api_error(exc: ColdFusionError) -> ApiError:
    """Our own errors, without the paths of this machine that they may name."""
    match exc:
        case StaleParent():
            return ApiError(412, STALE)
        case NotOnHub():
            return ApiError(404, "Not found")
        case HubError():
            return unprocessable(str(exc))
        case StorageError() if _is_full(exc.__cause__):
            return ApiError(
                507, "The disk of this Hub is full; nothing was written. Its operator has to make room."
            )
        case _:
            return ApiError(500, "This Hub cannot use its store; its operator finds the reason in its log.")


def response_of(error: ApiError) -> Response:
    """As the client reads it: the message in the body and in a header, the class by its code."""
    headers = {**error.headers, "X-Error-Message": _header_value(error.message)}
    if error.code:
        headers["X-Error-Code"] = error.code
    return JSONResponse(
        {"error": mended(error.message), **error.body}, status_code=error.status, headers=headers
    )


def request_id(headers: Mapping[str, str]) -> str:
    """What the client calls its request, or a new name for it: to be found again in both sides' logs."""
    theirs = headers.get("x-amzn-trace-id") or headers.get("x-request-id") or ""
    return theirs if re.fullmatch(r"[!-~]{1,128}", theirs) else uuid.uuid4().hex


def _header_value(text: str) -> str:
    """In one line, of letters that a header may have."""
    return re.sub("[^ -~]", "?", " ".join(text.split()))


def _is_full(cause: BaseException | None) -> bool:
    if isinstance(cause, OSError):
        return cause.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(cause, sqlite3.Error) and "full" in str(cause)
