"""``budgeted serve``."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

from budgeted.cli.ledger_options import ledger_option, timezone_option
from budgeted.errors import LedgerUnavailableError
from budgeted.ledger.opening import open_ledger

F = TypeVar("F", bound=Callable[..., None])

_SECONDS, _WHOLE = click.FloatRange(0, min_open=True), click.IntRange(1)

_CONNECTIONS = (
    "How many connections there may be, and no more than half of the files that the process may have open. Of more, "
    "the oldest that waits for a request gives way."
)
_PER_ADDRESS = (
    "How many of them one address may have, and no more than half: an IPv4 address, or 64 bits of IPv6. Behind a proxy "
    "that is not trusted, all have the proxy's."
)

LIMITS: dict[str, tuple[click.FloatRange | click.IntRange, float, str]] = {
    "header_seconds": (_SECONDS, 10.0, "How long the headers of a request may take to arrive."),
    "body_seconds": (_SECONDS, 30.0, "How long its body may take after them."),
    "answer_seconds": (_SECONDS, 60.0, "How long it may then take until the answer is made and was read."),
    "max_connections": (_WHOLE, 1000, _CONNECTIONS),
    "max_connections_per_address": (_WHOLE, 250, _PER_ADDRESS),
}
"""The limits of connections: their type, their default, and what they are."""


def _limits_of_connections(command: F) -> F:
    for name, (kind, default, text) in reversed(LIMITS.items()):
        option = click.option(
            f"--{name.replace('_', '-')}",
            envvar=f"BUDGETED_{name.upper()}",
            show_envvar=True,
            type=kind,
            default=default,
            show_default=True,
            help=text,
        )
        command = option(command)
    return command


@click.command()
@click.option(
    "--host",
    envvar="BUDGETED_HOST",
    show_envvar=True,
    default="127.0.0.1",
    show_default=True,
    help="Where it listens: a name or an address of this machine.",
)
@click.option(
    "--port",
    envvar="BUDGETED_PORT",
    show_envvar=True,
    type=click.IntRange(0, 65535),
    default=8787,
    show_default=True,
    help="0 for any that is free.",
)
@ledger_option
@timezone_option
@click.option("--ssl-certfile", type=click.Path(exists=True, dir_okay=False), help="The certificate, for https.")
@click.option("--ssl-keyfile", type=click.Path(exists=True, dir_okay=False), help="The certificate's key.")
@_limits_of_connections
@click.option(
    "--trusted-proxies",
    envvar="BUDGETED_TRUSTED_PROXIES",
    show_envvar=True,
    default="",
    help="Addresses or networks of proxies, separated by commas, whose X-Forwarded-For is believed: what one address "
    "may have then applies to each that they name, and not to them.",
)
def serve(
    host: str,
    port: int,
    ledger: str | None,
    timezone: str,
    ssl_certfile: str | None,
    ssl_keyfile: str | None,
    trusted_proxies: str,
    **limits: Any,
) -> None:
    """Serve a ledger over HTTP, for clients with ledger="https://...", LiteLLM's hosted ones, and people.

    BUDGETED_TOKEN holds the tokens of those who may read and write, BUDGETED_READ_TOKEN of those who may only read,
    separated by commas. Other variables: BUDGETED_FSYNC, BUDGETED_HOLD_TIMEOUT, BUDGETED_MAX_BODY,
    BUDGETED_MAX_PROJECTS (that are open at once; the one that was not used for longest is closed for another),
    BUDGETED_THREADS, BUDGETED_SESSION_SECONDS (of the page).
    """
    try:
        from budgeted.http_server.connection_limits import ConnectionLimits
        from budgeted.http_server.file_descriptors import share_out
        from budgeted.http_server.server import HTTPServer, listen
        from budgeted.server import ServerSettings, create_app
        from budgeted.server.settings import FILES_OF_PROJECT
    except ImportError as error:
        raise click.ClickException(f"{error}; pip install 'budgeted[server]'") from error
    if ssl_keyfile and not ssl_certfile:
        raise click.UsageError("--ssl-keyfile needs --ssl-certfile: the certificate that it is the key of")
    proxies = tuple(one.strip() for one in trusted_proxies.split(",") if one.strip())
    allowed = ConnectionLimits(**limits, trusted_proxies=proxies)
    settings = msgspec.structs.replace(ServerSettings.from_environment(), ledger=ledger, timezone=timezone)
    settings.check_host(host)
    try:
        open_ledger(settings.ledger, "default", fsync=settings.fsync)
    except LedgerUnavailableError as error:  # it may come back; a mistake in its name would be told here
        click.echo(f"serving without a ledger as yet: {error}", err=True)
    connections, projects = share_out(allowed.max_connections, settings.max_projects, FILES_OF_PROJECT)
    if (connections, projects) != (allowed.max_connections, settings.max_projects):
        what = f"{connections} connections and {projects} open projects"
        click.echo(f"this process may have too few open files, and serves {what}; see `ulimit -n`", err=True)
    here = max(1, min(allowed.max_connections_per_address, connections // 2))
    allowed = msgspec.structs.replace(allowed, max_connections=connections, max_connections_per_address=here)
    app = create_app(msgspec.structs.replace(settings, max_projects=projects))
    try:
        listening = listen(host, port)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}, port {port}: {error}") from error
    try:
        server = HTTPServer(app, listening, allowed, ssl_certfile=ssl_certfile, ssl_keyfile=ssl_keyfile)
    except ssl.SSLError as error:
        msg = f"{ssl_certfile} is no certificate with its key: {error}"
        raise click.ClickException(msg) from error
    for one in server.addresses:
        place = f"[{one[0]}]" if ":" in one[0] else one[0]
        scheme = "https" if ssl_certfile else "http"
        logging.getLogger("uvicorn.error").info("Serving on %s://%s:%d (CTRL+C ends it)", scheme, place, one[1])
    server.run()
