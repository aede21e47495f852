"""The metadata at the top of a README.md: checked before a commit, shown in a repo's description."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml
from dulwich.objects import ObjectID
from starlette.responses import JSONResponse, Response

from hub_sync.gitrepo import GitRepo
from hub_sync.server.call import Call
from hub_sync.server.routing import Need, Route

LONGEST = 1 << 16  # characters of metadata
_FRONT = re.compile(r"\s*---[ \t]*\r?\n(?:(.*?)\r?\n)?---[ \t]*(?:\r?\n|$)", re.DOTALL)
_KINDS: dict[str, type | tuple[type, ...]] = {
    "model-index": list,
    "tags": (list, str),
    "license": str,
    "library_name": str,
    "pipeline_tag": str,
}
"""What these have to be where they are given."""


class _Loader(yaml.SafeLoader):
    """YAML without anchors: a few lines of them expand into gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("anchors and aliases are not allowed")
        return super().compose_node(parent, index)


def validate(call: Call) -> Response:
    """What is wrong with the metadata of a README.md: errors stop the client's commit, warnings do not."""
    content = call.text("content", most=4_000_000)
    errors, warnings = [], []
    try:
        card = parse(content)
    except ValueError as exc:
        errors.append(str(exc))
    else:
        if not card:
            warnings.append("empty or missing yaml metadata in repo card")
        for field, kind in _KINDS.items():
            if field in card and not isinstance(card[field], kind):
                errors.append(f'"{field}" is not of the right kind: {card[field]!r}')
    body = {
        name: [{"message": m} for m in found] for name, found in (("errors", errors), ("warnings", warnings))
    }
    return JSONResponse(body, status_code=400 if errors else 200)


def parse(readme: str) -> dict[str, Any]:
    """The metadata, in values that JSON has. Raises ValueError."""
    front = _FRONT.match(readme)
    if not front:
        return {}
    metadata = front[1] or ""
    if len(metadata) > LONGEST:
        raise ValueError(f"metadata of more than {LONGEST:,} characters")
    try:
        card = yaml.load(metadata, Loader=_Loader)
    except (yaml.YAMLError, RecursionError) as exc:
        raise ValueError(" ".join(str(exc).split())) from exc
    if card is not None and not isinstance(card, dict):
        raise ValueError("metadata is not a mapping")
    found: dict[str, Any] = json.loads(json.dumps(card or {}, default=str))
    return found


def card_of(git: GitRepo, files: Mapping[str, ObjectID]) -> tuple[dict[str, Any], list[str]]:
    """The metadata of a revision and the tags that follow from it; empty where it cannot be read."""
    sha = files.get("README.md")
    if sha is None or git.described(sha)[1] or git.described(sha)[0] > 1 << 20:
        return {}, []
    try:
        card = parse(git.blob(sha).decode(errors="replace"))
    except ValueError:
        return {}, []
    tags = [*_words(card.get("tags")), *_words(card.get("language"))]
    for field in ("license", "base_model", "datasets"):
        tags += [f"{field.removesuffix('s')}:{word}" for word in _words(card.get(field))]
    return card, tags


def _words(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [word for word in values if isinstance(word, str)]


ROUTES = [Route(method="POST", pattern="/api/validate-yaml", handler=validate, needs=Need.NOTHING)]
