"""``budgeted serve``."""

from __future__ import annotations

import ssl

import click
import msgspec

from budgeted.cli.ledger_options import ledger_option, timezone_option
from budgeted.errors import LedgerUnavailableError
from budgeted.ledger.opening import open_ledger

GRACE_SECONDS = 10
"""How long requests under way may take when the server is told to stop."""

KEPT_SECONDS = 75
"""How long an unused connection is kept: longer than clients keep theirs."""


@click.command()
@click.option("--host", envvar="BUDGETED_HOST", show_envvar=True, default="127.0.0.1", show_default=True)
@click.option(
    "--port", envvar="BUDGETED_PORT", show_envvar=True, type=click.IntRange(0, 65535), default=8787, show_default=True
)
@ledger_option
@timezone_option
@click.option("--ssl-certfile", type=click.Path(exists=True, dir_okay=False), help="The certificate, for https.")
@click.option("--ssl-keyfile", type=click.Path(exists=True, dir_okay=False), help="The certificate's key.")
def serve(
    host: str, port: int, ledger: str | None, timezone: str, ssl_certfile: str | None, ssl_keyfile: str | None
) -> None:
    """Serve a ledger over HTTP, for clients with ledger="https://...", LiteLLM's hosted ones, and people.

    BUDGETED_TOKEN holds the tokens of those who may read and write, BUDGETED_READ_TOKEN of those who may only read,
    separated by commas. Other variables: BUDGETED_FSYNC, BUDGETED_HOLD_TIMEOUT, BUDGETED_MAX_BODY,
    BUDGETED_MAX_PROJECTS, BUDGETED_THREADS.
    """
    try:
        import uvicorn

        from budgeted.server import ServerSettings, create_app
    except ImportError as error:
        raise click.ClickException(f"{error}; pip install 'budgeted[server]'") from error
    if ssl_keyfile and not ssl_certfile:
        raise click.UsageError("--ssl-keyfile needs --ssl-certfile: the certificate that it is the key of")
    settings = msgspec.structs.replace(ServerSettings.from_environment(), ledger=ledger, timezone=timezone)
    settings.check_host(host)
    try:
        open_ledger(settings.ledger, "default", fsync=settings.fsync)
    except LedgerUnavailableError as error:  # it may come back; a mistake in its name would be told here
        click.echo(f"serving without a ledger as yet: {error}", err=True)
    try:
        uvicorn.run(
            create_app(settings),
            host=host,
            port=port,
            ssl_certfile=ssl_certfile,
            ssl_keyfile=ssl_keyfile,
            ws="none",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=KEPT_SECONDS,
        )
    except ssl.SSLError as error:
        msg = f"{ssl_certfile} is no certificate with its key: {error}"
        raise click.ClickException(msg) from error
