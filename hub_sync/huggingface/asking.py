"""Asking for ranges of one file of a Hub, over the client's own session.

The Hub answers with a redirect to where the bytes are, at an address that is signed and good for a while. It
is kept and asked directly, and asked for anew when it is good no longer. The token goes to the Hub only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlparse

from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils._http import get_session, hf_raise_for_status

from coldfusion.errors import HubError, HubUnavailable
from hub_sync.ranges import Fetched

EXPIRED = {400, 401, 403, 404, 410}
"""How stores of files refuse a signed address that was good before."""
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_NONE = re.compile(r"bytes \*/(\d+)")


class Asker:
    """One file, by the address that the Hub resolves. Raises what the client raises, and HubError."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.url, self._headers = url, headers
        self._found = url  # where the Hub sent us

    def fetch(self, start: int, stop: int) -> Fetched:
        """Bytes [start, stop), fewer where the file ends before, and the size of the file."""
        found = self._found
        try:
            return self._ask(found, start, stop)
        except HfHubHTTPError as exc:
            if found == self.url or exc.response.status_code not in EXPIRED:
                raise
        return self._ask(self.url, start, stop)

    def _ask(self, url: str, start: int, stop: int) -> Fetched:
        # identity: a range of a compressed file would be something else
        asked = {**self._headers, "Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        if _origin(url) != _origin(self.url):
            asked.pop("authorization", None)
        with get_session().stream("GET", url, headers=asked) as answer:
            if answer.is_error:
                answer.read()  # it says why
            if answer.status_code == 416 and (empty := _NONE.fullmatch(_header(answer, "content-range"))):
                return bytearray(), int(empty[1])
            hf_raise_for_status(answer)
            length, size = self._promised(answer, start, stop)
            data = self._received(answer, length)
            self._found = str(answer.url)
        return data, size

    def _promised(self, answer: Any, start: int, stop: int) -> tuple[int, int]:
        """(bytes that follow, bytes of the file), as the answer's headers say."""
        whole = _header(answer, "content-length")
        if answer.status_code == 200 and start == 0 and whole.isdigit() and int(whole) <= stop:
            return int(whole), int(whole)
        found = _RANGE.fullmatch(_header(answer, "content-range"))
        if answer.status_code != 206 or not found:
            raise HubError(f"{self.url}: this Hub does not answer Range requests; download the model first")
        first, last, size = (int(number) for number in found.groups())
        if first != start or last + 1 != min(stop, size):
            raise HubUnavailable(f"{self.url}: asked for bytes {start} to {stop}, got {found[0]}")
        return last + 1 - first, size

    def _received(self, answer: Any, length: int) -> bytearray:
        data, at = bytearray(length), 0
        for chunk in answer.iter_raw():
            data[at : at + len(chunk)] = chunk
            at += len(chunk)
            if at > length:
                break
        if at != length:
            raise HubUnavailable(f"{self.url}: {length} bytes were announced, {at} came")
        return data


def _header(answer: Any, name: str) -> str:
    return str(answer.headers.get(name, ""))


def _origin(url: str) -> tuple[str, str]:
    parsed = urlparse(url)
    return parsed.scheme, parsed.netloc
