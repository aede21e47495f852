"""`coldfusion init`: a federation from any encoder."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from coldfusion.cardtext import is_model_name
from coldfusion.config import Policy
from coldfusion.errors import ConfigError, NotOnHub
from coldfusion.federation import Start, found
from coldfusion.hub import Hub
from coldfusion.layout import tag_name
from coldfusion.records import Evaluation, Revision
from contributors.models import prepare_base
from hub_sync.modelcards import card_for

_IN_CACHE = re.compile(r"models--([^/]+)/snapshots/[0-9a-f]{40}")


def found_federation(hub: Hub, base: str, policy: Policy, *, name: str | None = None) -> Revision:
    """Publish round-0000: checkpoint, tokenizer, policy, model card. Raises ConfigError where it is there.

    name: of the model on the Hub, for the card; None: what `base` says itself.
    """
    try:
        already = hub.resolve(tag_name(0))
    except NotOnHub:
        pass
    else:
        raise ConfigError(f"{hub.address} is a federation already, since {already[:12]}")
    with tempfile.TemporaryDirectory(prefix="coldfusion-") as scratch:
        start = Start(Path(scratch) / "base", name or name_of(base))
        prepare_base(base, start.directory)
        return found(
            hub,
            start,
            policy,
            evaluate=lambda *_: Evaluation(),
            workdir=Path(scratch) / "texts",
            card=card_for(hub),
        )


def name_of(base: str) -> str | None:
    """What the Hub calls the model at `base`: a name on it, or a folder of its client's cache; else None."""
    if not Path(base).exists():
        return base if is_model_name(base) else None
    found = _IN_CACHE.search(Path(base).absolute().as_posix())
    return found[1].replace("--", "/", 1) if found else None
