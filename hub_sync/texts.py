"""Text that JSON can hold and UTF-8 cannot: a lone half of a surrogate pair, such as "\\ud800".

Nothing that holds one can be sent or stored, so none comes in; what is stored from before is read without.
"""

from __future__ import annotations

import json
from typing import Any


def is_text(found: str) -> bool:
    """Whether it can be written as UTF-8."""
    try:
        found.encode()
    except UnicodeEncodeError:
        return False
    return True


def mended(found: str) -> str:
    """With a question mark for each character that is none."""
    return found.encode("utf-8", "replace").decode()


def from_outside(raw: bytes) -> Any:
    """JSON that somebody sent. Raises ValueError and RecursionError."""
    text = raw.decode()
    found = json.loads(text)
    if "\\u" in text:  # the only way in
        json.dumps(found, ensure_ascii=False).encode()
    return found


def from_store(data: str) -> Any:
    """JSON that was stored, whoever stored it."""
    found = json.loads(data)
    return json.loads(mended(json.dumps(found, ensure_ascii=False))) if "\\u" in data else found
