"""`coldfusion serve` and `coldfusion users`: hosting a Hub of one's own.

Imported to show the help, so nothing heavy is imported before a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coldfusion.errors import ConfigError

if TYPE_CHECKING:
    from hub_sync.delivering import Network
    from hub_sync.people import Org, People

users = typer.Typer(help="The people of a served store and their tokens; also while it is served.")

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the store.")]


def serve(  # noqa: PLR0913 - one parameter per option
    folder: Folder,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8000,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain (PEM), to serve https.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    max_file_bytes: Annotated[int, typer.Option(help="Of one file.", min=1)] = 50_000_000_000,
    max_pull_request_bytes: Annotated[
        int,
        typer.Option(help="Of what one pull request adds, and of what a reader leaves uncommitted.", min=1),
    ] = 50_000_000_000,
    rate_limit: Annotated[
        int,
        typer.Option(help="API requests of one caller in 5 minutes, and 5 times the downloads.", min=0),
    ] = 10_000,
    rate_window: Annotated[int, typer.Option(help="Seconds that the rate limit is for.", min=1)] = 300,
    webhooks_to: Annotated[
        list[str] | None,
        typer.Option(metavar="CIDR", help="Not public, but webhooks may lead there; may be repeated."),
    ] = None,
    public_url: Annotated[str, typer.Option(help="This Hub's address in webhooks.")] = "",
) -> None:
    """Host a Hub of one's own: a local store that the stock huggingface_hub client talks to."""
    _check_store(folder)
    if (tls_cert is None) != (tls_key is None):
        raise ConfigError("https needs both --tls-cert and --tls-key")
    for path in (tls_cert, tls_key):
        if path and not path.is_file():
            raise ConfigError(f"there is no file {path}")
    from hub_sync.server.service import Settings
    from hub_sync.server.serving import serve as run

    settings = Settings(
        max_file_bytes=max_file_bytes,
        max_pull_request_bytes=max_pull_request_bytes,
        rate_limit=rate_limit,
        rate_window=rate_window,
        webhooks_to=tuple(_network(text) for text in webhooks_to or []),
        public_url=_public(public_url),
    )
    tls = (tls_cert, tls_key) if tls_cert and tls_key else None
    run(folder, host=host, port=port, tls=tls, settings=settings)


@users.command("add")
def add_user(  # noqa: PLR0913 - one parameter per option
    folder: Folder,
    name: Annotated[str, typer.Argument(help="Somebody new, or who gets one more token or org.")],
    token: Annotated[str | None, typer.Option(help="Without it one is made, and shown once.")] = None,
    fullname: Annotated[str, typer.Option(help="As people say it.")] = "",
    org: Annotated[
        list[str] | None, typer.Option(metavar="ORG", help="Or ORG=FULLNAME; may be repeated.")
    ] = None,
    org_private: Annotated[bool, typer.Option("--org-private", help="Their new repos are private.")] = False,
    role: Annotated[
        str, typer.Option(help="read: see, open pull requests; write: also commit; admin: everywhere.")
    ] = "write",
) -> None:
    """Add a user, or give one another token."""
    from hub_sync.people import Person

    orgs = tuple(_org(text, org_private) for text in org or [])
    made = _people(folder).add(Person(name=name, fullname=fullname, role=role, orgs=orgs), token)
    typer.echo(f"{name} may {role}" + (f"; token (shown only now): {made}" if token is None else ""))


@users.command("list")
def list_users(folder: Folder) -> None:
    """Who is there: names, orgs, and the roles of their tokens."""
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "full name", "orgs", "tokens")
    for person, roles in _people(folder).all():
        table.add_row(person.name, person.fullname, ", ".join(o.name for o in person.orgs), ", ".join(roles))
    Console().print(table)


@users.command("remove")
def remove_user(folder: Folder, name: Annotated[str, typer.Argument(help="Who.")]) -> None:
    """Take a user and their tokens away; what they made stays."""
    _people(folder).remove(name)
    typer.echo(f"{name} is gone")


def _people(folder: Path) -> People:
    from hub_sync.people import People
    from hub_sync.store import Store

    _check_store(folder)
    return People(Store(folder).database)


def _check_store(folder: Path) -> None:
    """A store, or a place for a new one: an empty or missing folder. Raises ConfigError."""
    from hub_sync.store import MARK

    try:
        if (
            folder.exists()
            and not (folder / MARK).exists()
            and (not folder.is_dir() or any(folder.iterdir()))
        ):
            raise ConfigError(f"{folder} is not a local store, and not an empty folder to make one in")
    except OSError as exc:
        raise ConfigError(f"cannot read {folder}: {exc.strerror}") from exc


def _network(text: str) -> Network:
    from ipaddress import ip_network

    try:
        return ip_network(text, strict=False)
    except ValueError as exc:
        raise ConfigError(f"--webhooks-to: {text!r} is no network such as 10.0.0.0/8") from exc


def _public(url: str) -> str:
    from hub_sync.delivering import checked_url

    try:
        return url and checked_url(url).geturl()
    except ValueError as exc:
        raise ConfigError(f"--public-url: {exc}") from exc


def _org(text: str, private: bool) -> Org:
    from hub_sync.people import Org

    name, _, fullname = text.partition("=")
    return Org(name=name, fullname=fullname or name, private_repos=private)
