"""What webhooks are told: one payload for each thing that happens.

Its links begin with this Hub's own address, not with what the sender of a request called it: those who follow
them did not send it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coldfusion.records import Revision
from hub_sync.discussions import Discussion, Event
from hub_sync.gitrepo import MAIN
from hub_sync.repos import PREFIXES, RepoRow
from hub_sync.server.call import Call

Moved = tuple[str, Revision | None, Revision | None]  # a ref, where it was, where it is


def tell(
    call: Call,
    repo: RepoRow,
    action: str,
    scope: str,
    *,
    moved: Sequence[Moved] = (),
    moved_to: RepoRow | None = None,
) -> None:
    """Something happened to a repo."""
    payload = _payload(call, moved_to or repo, action, scope)
    if moved:
        payload["updatedRefs"] = [{"ref": ref, "oldSha": old, "newSha": new} for ref, old, new in moved]
    if moved_to:
        payload["movedTo"] = {"name": moved_to.id, "owner": {"id": moved_to.namespace}}
    call.service.deliveries.send(repo, payload)


def tell_discussion(call: Call, about: Discussion, action: str, comment: Event | None = None) -> None:
    """Something happened in a discussion or a pull request."""
    payload = _payload(call, call.repo, action, "discussion.comment" if comment else "discussion")
    web, api = (f"{link}/discussions/{about.number}" for link in _links(call, call.repo).values())
    payload["discussion"] = {
        "id": f"{about.repo}#{about.number}",
        "num": about.number,
        "title": about.title,
        "author": {"id": about.author},
        "url": {"web": web, "api": api},
        "status": about.status,
        "isPullRequest": about.is_pull_request,
    }
    if about.is_pull_request:
        payload["discussion"]["changes"] = {"base": about.base, "mergeCommitId": about.merge_commit}
    if comment:
        payload["comment"] = {
            "id": f"{comment.id:024x}",
            "author": {"id": comment.author},
            "hidden": False,
            "content": comment.data["text"],
            "url": {"web": f"{web}#{comment.id:024x}"},
        }
    call.service.deliveries.send(call.repo, payload)


def _payload(call: Call, repo: RepoRow, action: str, scope: str) -> dict[str, Any]:
    head = call.service.store.git(repo.key).ref(MAIN) if action != "delete" else None
    return {
        "event": {"action": action, "scope": scope},
        "repo": {
            "id": repo.key,
            "name": repo.id,
            "type": repo.kind,
            "owner": {"id": repo.namespace},
            "private": repo.private,
            "headSha": head,
            "url": _links(call, repo),
        },
    }


def _links(call: Call, repo: RepoRow) -> dict[str, str]:
    here = call.service.public_url
    return {"web": f"{here}/{PREFIXES[repo.kind]}{repo.id}", "api": f"{here}/api/{repo.kind}s/{repo.id}"}
