"""`coldfusion init`: a federation from any encoder."""

from __future__ import annotations

import tempfile
from pathlib import Path

from coldfusion.config import Policy
from coldfusion.errors import ConfigError, NotOnHub
from coldfusion.federation import found, tag_name
from coldfusion.hub import Hub
from coldfusion.records import Evaluation, Revision
from contributors.models import prepare_base


def found_federation(hub: Hub, base: str, policy: Policy) -> Revision:
    """Publish round-0000: checkpoint, tokenizer, policy, model card. Raises ConfigError where it is there."""
    try:
        already = hub.resolve(tag_name(0))
    except NotOnHub:
        pass
    else:
        raise ConfigError(f"{hub.address} is a federation already, since {already[:12]}")
    with tempfile.TemporaryDirectory(prefix="coldfusion-") as scratch:
        prepared = Path(scratch) / "base"
        prepare_base(base, prepared)
        return found(hub, prepared, policy, evaluate=lambda *_: Evaluation(), workdir=Path(scratch) / "texts")
