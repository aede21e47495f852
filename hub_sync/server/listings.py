"""What is in a repo: trees, single paths, commits, refs."""

from __future__ import annotations

import html
from urllib.parse import parse_qs

from starlette.responses import JSONResponse, Response

from hub_sync.gitrepo import CommitFacts
from hub_sync.history import last_changes
from hub_sync.server.call import Call
from hub_sync.server.failures import bad_request, no_entry
from hub_sync.server.routing import Route
from hub_sync.server.wire import next_page, tree_item, when

EXPANDED_PAGE = 50  # items whose last commit has to be looked for
COMMIT_PAGE = 100


def tree(call: Call) -> Response:
    """The files and folders in a folder; ?recursive= also below it, ?expand= with their last commits."""
    revision, folder = call.revision(), call.params.get("path", "").strip("/")
    entries, prefix = call.git.entries(revision), f"{folder}/" if folder else ""
    if folder and (folder not in entries or not entries[folder].is_folder):
        raise no_entry(folder)
    deep = call.flag("recursive")
    paths = [p for p in entries if p.startswith(prefix) and (deep or "/" not in p[len(prefix) :])]
    if not call.flag("expand"):
        return next_page(call, [tree_item(call.git, path, entries[path], None) for path in paths])
    start = call.count("cursor")
    last = last_changes(call.git, revision, paths[start : start + EXPANDED_PAGE])
    items = [tree_item(call.git, path, entries[path], last.get(path)) for path in paths]
    return next_page(call, items, size=EXPANDED_PAGE)


def paths_info(call: Call) -> Response:
    """The files and folders that are asked for; those that are not there are left out."""
    if call.request.headers.get("content-type", "").startswith("application/json"):
        asked = call.json()
        paths, expand = asked.get("paths", []), bool(asked.get("expand"))
    else:
        form = parse_qs(call.body.decode("utf-8", "replace"))
        paths, expand = form.get("paths", []), form.get("expand", [""])[0].lower() in ("true", "1")
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise bad_request("'paths' has to be a list of paths")
    revision = call.revision()
    entries = call.git.entries(revision)
    there = [path for path in dict.fromkeys(path.strip("/") for path in paths) if path in entries]
    last = last_changes(call.git, revision, there) if expand else {}
    return JSONResponse([tree_item(call.git, path, entries[path], last.get(path)) for path in there])


def commits(call: Call) -> Response:
    """The history of a revision, newest first."""
    formatted = "formatted" in call.request.query_params.getlist("expand[]")
    history = list(call.git.history(call.revision()))
    return next_page(call, [_commit(commit, formatted) for commit in history], size=COMMIT_PAGE)


def refs(call: Call) -> Response:
    """Branches and tags, and with ?include_prs= the head of every pull request: in one answer."""
    found = {
        "branches": _refs(call, "refs/heads/"),
        "tags": _refs(call, "refs/tags/"),
        "converts": _refs(call, "refs/convert/"),
    }
    if call.flag("include_prs"):
        found["pullRequests"] = _refs(call, "refs/pr/")
    return JSONResponse(found)


def _commit(commit: CommitFacts, formatted: bool) -> dict[str, object]:
    title, _, message = commit.message.partition("\n")
    found: dict[str, object] = {
        "id": commit.revision,
        "title": title,
        "message": message.strip("\n"),
        "authors": [{"user": commit.author}],
        "date": when(commit.time),
    }
    if formatted:
        found["formatted"] = {"title": html.escape(title), "message": html.escape(message.strip("\n"))}
    return found


def _refs(call: Call, prefix: str) -> list[dict[str, str]]:
    names = sorted(call.git.refs(prefix), key=lambda name: name.rjust(9, "0") if name.isdecimal() else name)
    found = []
    for name in names:
        if target := call.git.ref(prefix + name):  # somebody may be deleting it
            shown = prefix + name if prefix == "refs/pr/" else name
            found.append({"name": shown, "ref": prefix + name, "targetCommit": target})
    return found


ROUTES = [
    Route(method="GET", pattern="{api}/tree/{revision}(?:/{path})?", handler=tree),
    Route(method="POST", pattern="{api}/paths-info/{revision}", handler=paths_info),
    Route(method="GET", pattern="{api}/commits/{revision}", handler=commits),
    Route(method="GET", pattern="{api}/refs", handler=refs),
]
