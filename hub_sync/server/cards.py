"""The metadata at the top of a README.md: checked before a commit, shown in a repo's description."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import yaml
from dulwich.objects import ObjectID
from starlette.responses import JSONResponse, Response

from hub_sync.gitrepo import GitRepo
from hub_sync.server.call import Call
from hub_sync.server.routing import Need, Route

LONGEST, DEEPEST = 1 << 18, 50  # characters and levels of metadata
_FRONT = re.compile(r"\s*---[ \t]*\r?\n(?:(.*?)\r?\n)?---[ \t]*(?:\r?\n|$)", re.DOTALL)
_KINDS: dict[str, type | tuple[type, ...]] = {
    "model-index": list,
    "tags": (list, str),
    "license": str,
    "library_name": str,
    "pipeline_tag": str,
}
"""What these have to be where they are given."""


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C: others wait while Python reads


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
    """The metadata, in values that JSON has; to be read, not changed. Raises ValueError."""
    front = _FRONT.match(readme)
    if not front:
        return {}
    return _read(front[1] or "")


@lru_cache(maxsize=16)  # a repo is asked for again and again, and the scores of many tasks take a while
def _read(metadata: str) -> dict[str, Any]:
    if len(metadata) > LONGEST:
        raise ValueError(f"metadata of more than {LONGEST:,} characters")
    try:
        _check_events(metadata)
        card = yaml.load(metadata, Loader=_LOADER)
        found = json.loads(json.dumps({} if card is None else card, default=str, allow_nan=False))
    except Exception as exc:  # values that are not what their tags say end in errors of all kinds
        raise ValueError(" ".join(str(exc).split()) or "metadata is not YAML") from exc
    if not isinstance(found, dict):
        raise ValueError("metadata is not a mapping")
    return found


def _check_events(metadata: str) -> None:
    """No anchors, of which a few lines expand into gigabytes, and no deep nests. Raises ValueError."""
    depth = 0
    for event in yaml.parse(metadata, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("anchors and aliases are not allowed")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"metadata of more than {DEEPEST} levels")


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
    for relation in _words(card.get("base_model_relation")):
        tags += [f"base_model:{relation}:{word}" for word in _words(card.get("base_model"))]
    return card, tags


def _words(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [word for word in values if isinstance(word, str)]


ROUTES = [Route(method="POST", pattern="/api/validate-yaml", handler=validate, needs=Need.NOTHING)]
