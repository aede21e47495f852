"""Everybody's own webhooks."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from starlette.responses import JSONResponse, Response

from hub_sync.delivering import checked_url
from hub_sync.server.call import Call
from hub_sync.server.failures import bad_request, forbidden, unknown
from hub_sync.server.routing import Need, Route
from hub_sync.webhooks import DOMAINS, Webhook, new_id

MOST = 100  # webhooks of one user, and names that one watches
LONGEST = 200  # characters of a name
MASK = "********"  # a secret, as it is shown; sent back, it leaves the secret as it is


def listing(call: Call) -> Response:
    return JSONResponse([_shown(webhook) for webhook in _theirs(call)])


def create(call: Call) -> Response:
    if len(_theirs(call)) >= MOST:
        raise bad_request(f"{MOST} webhooks are enough: delete one first")
    new = Webhook(id=new_id(), user=call.person.name, url="", watched=[], domains=list(DOMAINS), secret="")
    return _save(call, _changed(call, new))


def show(call: Call) -> Response:
    return JSONResponse({"webhook": _shown(_named(call))})


def change(call: Call) -> Response:
    return _save(call, _changed(call, _named(call)))


def delete(call: Call) -> Response:
    call.service.webhooks.remove(_named(call).id)
    return JSONResponse({})


def enable(call: Call) -> Response:
    return _save(call, replace(_named(call), disabled=False))


def disable(call: Call) -> Response:
    return _save(call, replace(_named(call), disabled=True))


def _changed(call: Call, webhook: Webhook) -> Webhook:
    """With what the body says. Raises ApiError."""
    body = call.json()
    url, watched = body.get("url", webhook.url), body.get("watched", webhook.watched)
    domains, secret = body.get("domains", webhook.domains), body.get("secret", MASK)
    secret = webhook.secret if secret == MASK else secret
    try:
        checked_url(url)
    except ValueError as exc:
        message = f"{url!r:.300} is no http(s) address; this Hub calls addresses and starts no jobs"
        raise bad_request(message) from exc
    if not isinstance(watched, list) or len(watched) > MOST or not all(_is_watched(item) for item in watched):
        raise bad_request(f"'watched' has to be a list of at most {MOST} {{type, name}}")
    if not isinstance(domains, list) or not all(domain in DOMAINS for domain in domains):
        raise bad_request(f"'domains' has to be some of {', '.join(DOMAINS)}")
    if not isinstance(secret, str) or not re.fullmatch("[ -~]{0,255}", secret):
        raise bad_request("'secret' has to be ASCII, at most 255 characters: it is sent in a header")
    items = [{name: item[name] for name in ("type", "name")} for item in watched]
    return replace(webhook, url=url, watched=items, domains=list(dict.fromkeys(domains)), secret=secret)


def _is_watched(item: object) -> bool:
    texts = [item.get(name) for name in ("type", "name")] if isinstance(item, dict) else [None]
    return all(isinstance(text, str) and len(text) <= LONGEST for text in texts)


def _theirs(call: Call) -> list[Webhook]:
    if call.person.role == "read":  # it could send what others of this person's tokens set up elsewhere
        raise forbidden("webhooks need a token that may write")
    name = call.person.name.lower()
    return [webhook for webhook in call.service.webhooks.all() if webhook.user.lower() == name]


def _named(call: Call) -> Webhook:
    for webhook in _theirs(call):
        if webhook.id == call.params["id"]:
            return webhook
    raise unknown(f"webhook {call.params['id']}")


def _save(call: Call, webhook: Webhook) -> Response:
    call.service.webhooks.save(webhook)
    return JSONResponse({"webhook": _shown(webhook)})


def _shown(webhook: Webhook) -> dict[str, Any]:
    """Without the secret, which whoever set it knows."""
    names = ("id", "url", "watched", "domains", "disabled")
    return {name: getattr(webhook, name) for name in names} | {"secret": MASK if webhook.secret else ""}


_ONE = "/api/settings/webhooks/{id}"
ROUTES = [
    Route(method="GET", pattern="/api/settings/webhooks", handler=listing, needs=Need.PERSON),
    Route(method="POST", pattern="/api/settings/webhooks", handler=create, needs=Need.PERSON),
    Route(method="GET", pattern=_ONE, handler=show, needs=Need.PERSON),
    Route(method="POST", pattern=_ONE, handler=change, needs=Need.PERSON),
    Route(method="DELETE", pattern=_ONE, handler=delete, needs=Need.PERSON),
    Route(method="POST", pattern=f"{_ONE}/enable", handler=enable, needs=Need.PERSON),
    Route(method="POST", pattern=f"{_ONE}/disable", handler=disable, needs=Need.PERSON),
]
