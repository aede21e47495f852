"""Who may do what. A repo that somebody may not see is not there for them."""

from __future__ import annotations

from starlette.requests import Request

from hub_sync.people import Person
from hub_sync.repos import PREFIXES, RepoRow, is_name
from hub_sync.server.failures import ApiError, forbidden, no_repo
from hub_sync.server.routing import Need
from hub_sync.server.service import Service


def caller_of(service: Service, request: Request) -> Person | None:
    """Whom the token belongs to; None without one. Raises ApiError where it belongs to nobody."""
    header = request.headers.get("authorization", "")
    if not header:
        return None
    scheme, _, token = header.partition(" ")
    person = service.people.by_token(token.strip()) if scheme.lower() == "bearer" else None
    if person is None:
        raise ApiError(401, "Invalid credentials in Authorization header")
    return person


def repo_of(service: Service, request: Request, params: dict[str, str], caller: Person | None) -> RepoRow:
    """The repo in the path. Raises ApiError: not there, or to be found under another name.

    The new name of a private repo is for those who may see it.
    """
    kinds = params.get("kinds", "").rstrip("/").removesuffix("s")
    key = repo_key(kinds or "model", f"{params['namespace']}/{params['name']}")
    if repo := service.store.repos.find(key):
        return repo
    new = service.store.repos.renamed(key)
    repo = service.store.repos.find(new) if new else None
    if repo is None or not may_see(caller, repo):
        raise no_repo()
    if request.method in ("GET", "HEAD"):
        raise _moved(request, params, repo)
    return repo


def repo_key(kind: str, repo_id: str) -> str:
    """The key of a repo. Raises ApiError where there can be no such repo."""
    names = repo_id.split("/")
    if kind not in PREFIXES or len(names) != 2 or not all(is_name(name) for name in names):
        raise no_repo()
    return PREFIXES[kind] + repo_id


def require(service: Service, caller: Person | None, need: Need, repo: RepoRow | None) -> None:
    """Raise ApiError unless the caller is what a route needs."""
    if repo and not may_see(caller, repo):
        raise no_repo()
    if need in (Need.PERSON, Need.SPEAK, Need.WRITE) and caller is None:
        raise ApiError(
            401, "This needs a token of this Hub: pass token=, set HF_TOKEN or run `hf auth login`"
        )
    if repo and need in (Need.SPEAK, Need.WRITE):
        require_contents(service, caller, repo)
    if repo and need is Need.WRITE:
        require_write(caller, repo)


def may_see(caller: Person | None, repo: RepoRow) -> bool:
    """Public repos, one's own, and for an admin all."""
    return not repo.private or _belongs(caller, repo)


def may_write(caller: Person | None, repo: RepoRow) -> bool:
    """Those whose namespace it is, with a token that may write."""
    return caller is not None and caller.role != "read" and _belongs(caller, repo)


def require_write(caller: Person | None, repo: RepoRow) -> None:
    """Raises ApiError with what is missing."""
    if may_write(caller, repo):
        return
    if caller and caller.role == "read":
        raise forbidden(f"This token of {caller.name} may only read; {repo.id} needs one with the role write")
    who = caller.name if caller else "nobody"
    raise forbidden(f"{who} may not write to {repo.id}: it belongs to {repo.namespace}. Open a pull request.")


def require_contents(service: Service, caller: Person | None, repo: RepoRow) -> None:
    """A gated repo is visible to all, but its files are for those who were let in. Raises ApiError."""
    if not repo.gated or _belongs(caller, repo):
        return
    if caller is None:
        raise ApiError(401, f"Access to {repo.kind} {repo.id} is restricted: use a token", code="GatedRepo")
    status = service.gates.status(repo.key, caller.name)
    if status != "accepted":
        reasons = {"pending": "your request is waiting", "rejected": "your request was rejected"}
        message = (
            f"Access to {repo.kind} {repo.id} is restricted and you are not in the authorized list:"
            f" {reasons.get(status or '', 'ask for access')}"
        )
        raise ApiError(403, message, code="GatedRepo")


def _belongs(caller: Person | None, repo: RepoRow) -> bool:
    return caller is not None and (caller.role == "admin" or repo.namespace.lower() in caller.namespaces)


def _moved(request: Request, params: dict[str, str], repo: RepoRow) -> ApiError:
    """307 to the same page of the repo's new name."""
    path = request.scope["raw_path"].decode("latin-1")
    old = f"/{params['namespace']}/{params['name']}"
    start = path.index(old) if old in path else 0
    target = f"{path[:start]}/{repo.id}{path[start + len(old) :]}"
    query = request.scope["query_string"].decode("ascii")
    headers = {"Location": target + (f"?{query}" if query else "")}
    return ApiError(307, f"This repo is called {repo.id} now", headers=headers)
