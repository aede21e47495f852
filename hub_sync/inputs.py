"""From what a user types as an input to a checkpoint: a directory, a .safetensors file, a model on the Hub.

The last (org/name, org/name@revision, or its full http(s) URL) is read where it is.
"""

from __future__ import annotations

import re
from pathlib import Path

from coldfusion.checkpoint import Checkpoint
from coldfusion.errors import BaseError
from coldfusion.places import Directory, OneFile, Place

_ON_HUB = re.compile(r"(https?://[^/@]+/)?([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(.+))?")


def open_input(text: str) -> Checkpoint:
    """The open checkpoint that `text` names.

    Raises BaseError where there is none, and HubError where the Hub is in the way.
    """
    return Checkpoint(place_of(text))


def place_of(text: str) -> Place:
    """Where it is. What is on this machine goes before what is on the Hub."""
    path = Path(text).expanduser()
    if path.is_file():
        return OneFile(path)
    found = None if path.is_dir() else _ON_HUB.fullmatch(text)
    if found:
        from hub_sync.huggingface.modelrepo import ModelRepo  # slow to import, and not needed for a directory

        endpoint, repo_id, revision = found.groups()
        return ModelRepo.find(repo_id, revision or "main", endpoint and endpoint.rstrip("/"))
    if not path.is_dir():
        raise BaseError(
            f"{text}: no such directory or file; a model on the Hub is called org/name[@revision]"
        )
    return Directory(path)
