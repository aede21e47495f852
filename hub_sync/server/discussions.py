"""Discussions and pull requests: list, read, open, comment, edit, rename, close."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from starlette.responses import JSONResponse, Response

from coldfusion.errors import NotOnHub
from hub_sync.discussions import Discussion, Event, add_discussion, add_event, set_status, set_title
from hub_sync.gitrepo import MAIN
from hub_sync.server.access import may_write
from hub_sync.server.call import Call
from hub_sync.server.commits import require_calm, require_open_for_discussion
from hub_sync.server.events import tell_discussion
from hub_sync.server.failures import bad_request, forbidden, unknown
from hub_sync.server.pulls import changes_of
from hub_sync.server.routing import Need, Route
from hub_sync.server.wire import when

PAGE = 50
VERSIONS = 10  # of a comment before it was edited, the last ones


def listing(call: Call) -> Response:
    """Newest first; a draft counts as open. ?type= ?status= ?author= ?p= (a page, from 0)."""
    kind, status, author = call.query("type"), call.query("status"), call.query("author")
    found = [
        d
        for d in reversed(call.service.store.discussions.all(call.repo.key))
        if (kind in (None, "all") or d.is_pull_request == (kind == "pull_request"))
        and (status in (None, "all") or d.is_open == (status == "open"))
        and author in (None, d.author)
    ]
    start = call.count("p") * PAGE
    shown = [_brief(call, d) for d in found[start : start + PAGE]]
    return JSONResponse({"discussions": shown, "count": len(found), "start": start})


def details(call: Call) -> Response:
    """One discussion with all that happened in it; of a pull request with ?diff= also its changes."""
    about = _about(call)
    events = call.service.store.discussions.events(about.repo, about.number)
    found = {**_brief(call, about), "events": [event_json(event) for event in events]}
    if about.is_pull_request:
        found |= changes_of(call, about, with_diff=call.flag("diff"))
    return JSONResponse(found)


def create(call: Call) -> Response:
    """Open a discussion, or a pull request without changes yet: a draft."""
    title = call.text("title").strip()
    if not 3 <= len(title) <= 200:
        raise bad_request("a title has 3 to 200 characters")
    description, is_pull_request = (
        call.text("description", default=""),
        call.json().get("pullRequest") is True,
    )
    store = call.service.store
    with call.alone() as db:
        require_open_for_discussion(call)
        about = Discussion(
            repo=call.repo.key,
            number=store.free_number(db, call.repo.key),
            title=title,
            author=call.person.name,
            status="draft" if is_pull_request else "open",
            is_pull_request=is_pull_request,
            created_at=time.time(),
            base=MAIN if is_pull_request else None,
        )
        if is_pull_request:
            call.git.move(f"refs/pr/{about.number}", old=None, new=call.revision("main"))
        add_discussion(db, about)
        add_event(db, about, "comment", author=about.author, data={"text": description})
    tell_discussion(call, about, "create")
    return JSONResponse({"num": about.number, "url": f"{call.url(call.repo)}/discussions/{about.number}"})


def comment(call: Call) -> Response:
    text = call.text("comment", least=1)
    with changing(call) as (db, about):
        require_calm(call, db, about)
        event = add_event(db, about, "comment", author=call.person.name, data={"text": text})
    tell_discussion(call, about, "create", event)
    return JSONResponse({"newMessage": event_json(event)}, status_code=201)


def status(call: Call) -> Response:
    """Open or close. What is so already stays as it is, so that a lost answer may be asked for again."""
    wanted, said = call.json().get("status"), call.text("comment", default="")
    if wanted not in ("open", "closed"):
        raise bad_request(f"a status is 'open' or 'closed', not {wanted!r}")
    with changing(call) as (db, about):
        _require_author_or_writer(call, about)
        if about.status == "merged":
            raise bad_request(f"pull request #{about.number} is merged and stays so")
        if about.status == wanted:
            event = _last_status(call, about)
        else:
            require_calm(call, db, about)
            if about.is_pull_request and wanted == "open" and call.git.ref(f"refs/pr/{about.number}") is None:
                raise bad_request(f"the ref of pull request #{about.number} was deleted: open another one")
            if said:
                add_event(db, about, "comment", author=call.person.name, data={"text": said})
            event = set_status(db, about, wanted, author=call.person.name)
    if about.status != wanted:
        tell_discussion(call, replace(about, status=wanted), "update")
    return JSONResponse({"newStatus": event_json(event)})


def title(call: Call) -> Response:
    new = call.text("title").strip()
    if not 3 <= len(new) <= 200:
        raise bad_request("a title has 3 to 200 characters")
    with changing(call) as (db, about):
        _require_author_or_writer(call, about)
        require_calm(call, db, about)
        event = set_title(db, about, new, author=call.person.name)
    tell_discussion(call, replace(about, title=new), "update")
    return JSONResponse({"newTitle": event_json(event)})


def edit(call: Call) -> Response:
    """Only its author changes a comment; what it said in the last versions before is kept."""
    text = call.text("content", least=1)

    def change(event: Event) -> dict[str, Any]:
        if event.author.lower() != call.person.name.lower() or event.data.get("hidden"):
            raise forbidden(f"this comment is {event.author}'s to edit, unless it is hidden")
        before = {"text": event.data["text"], "at": event.data.get("at", event.created_at)}
        history = [*event.data.get("history", []), before]
        edits = event.data.get("edits", len(history) - 1) + 1
        kept = {"text": text, "history": history[-VERSIONS:], "edits": edits, "at": time.time()}
        return {**event.data, **kept}

    return _change_comment(call, change)


def hide(call: Call) -> Response:
    """Its author or a writer hides a comment for good."""

    def change(event: Event) -> dict[str, Any]:
        if event.author.lower() != call.person.name.lower() and not may_write(call.caller, call.repo):
            raise forbidden(f"only {event.author} and writers of {call.repo.id} may hide this comment")
        return {"text": "This comment has been hidden", "hidden": True, "at": time.time()}

    return _change_comment(call, change)


@contextmanager
def changing(call: Call) -> Iterator[tuple[sqlite3.Connection, Discussion]]:
    """The discussion in the path, while nobody else changes it."""
    with call.alone() as db:
        yield db, _about(call)


def event_json(event: Event) -> dict[str, Any]:
    """As the client reads it."""
    data = dict(event.data)
    if event.type == "comment":
        data = _comment_json(event)
    return {
        "id": f"{event.id:024x}",
        "type": event.type,
        "createdAt": when(event.created_at),
        "author": {"name": event.author},
        "data": data,
    }


def _comment_json(event: Event) -> dict[str, Any]:
    history, author = event.data.get("history", []), {"name": event.author}

    def version(text: str, at: float) -> dict[str, Any]:
        return {"raw": text, "html": "", "updatedAt": when(at), "author": author}

    return {
        "edited": bool(history),
        "hidden": bool(event.data.get("hidden")),
        "latest": version(event.data["text"], event.data.get("at", event.created_at)),
        "history": [version(old["text"], old["at"]) for old in history],
        "numEdits": event.data.get("edits", len(history)),
    }


def _change_comment(call: Call, change: Callable[[Event], Mapping[str, Any]]) -> Response:
    with changing(call) as (db, about):
        wanted = call.params["comment"].lower()
        events = call.service.store.discussions.events(about.repo, about.number)
        found = [event for event in events if event.type == "comment" and f"{event.id:024x}" == wanted]
        if not found:
            raise unknown(f"comment {wanted}")
        event = replace(found[0], data=change(found[0]))
        db.execute("UPDATE events SET data = ? WHERE id = ?", (json.dumps(event.data), event.id))
    tell_discussion(call, about, "update", event)
    return JSONResponse({"updatedComment": event_json(event)})


def _about(call: Call) -> Discussion:
    try:
        return call.service.store.discussions.get(call.repo.key, int(call.params["number"]))
    except NotOnHub as exc:
        raise unknown(f"discussion #{call.params['number']} of {call.repo.id}") from exc


def _require_author_or_writer(call: Call, about: Discussion) -> None:
    if about.author.lower() != call.person.name.lower() and not may_write(call.caller, call.repo):
        raise forbidden(f"only {about.author} and writers of {call.repo.id} may change #{about.number}")


def _last_status(call: Call, about: Discussion) -> Event:
    events = call.service.store.discussions.events(about.repo, about.number)
    changes = [event for event in events if event.type == "status-change"]
    opened = Event(
        id=0,
        type="status-change",
        author=about.author,
        created_at=about.created_at,
        data={"status": about.status},
    )
    return changes[-1] if changes else opened


def _brief(call: Call, about: Discussion) -> dict[str, Any]:
    return {
        "num": about.number,
        "title": about.title,
        "status": about.status,
        "author": {"name": about.author, "type": "user"},
        "createdAt": when(about.created_at),
        "isPullRequest": about.is_pull_request,
        "repo": {"name": call.repo.id, "type": call.repo.kind},
        "pinned": False,
    }


ROUTES = [
    Route(method="GET", pattern="{api}/discussions", handler=listing),
    Route(method="POST", pattern="{api}/discussions", handler=create, needs=Need.SPEAK),
    Route(method="GET", pattern="{api}/discussions/{number}", handler=details),
    Route(method="POST", pattern="{api}/discussions/{number}/comment", handler=comment, needs=Need.SPEAK),
    Route(method="POST", pattern="{api}/discussions/{number}/status", handler=status, needs=Need.SPEAK),
    Route(method="POST", pattern="{api}/discussions/{number}/title", handler=title, needs=Need.SPEAK),
    Route(
        method="POST",
        pattern="{api}/discussions/{number}/comment/{comment}/edit",
        handler=edit,
        needs=Need.SPEAK,
    ),
    Route(
        method="POST",
        pattern="{api}/discussions/{number}/comment/{comment}/hide",
        handler=hide,
        needs=Need.SPEAK,
    ),
]
