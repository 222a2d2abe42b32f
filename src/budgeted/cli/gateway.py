"""``budgeted gateway``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TypeVar

import click

from budgeted.cli.gateway_check import check_gateway
from budgeted.cli.ledger_options import ledger_option, project_option
from budgeted.cli.limits_and_users import told_apart
from budgeted.gateway.settings import ListenSettings
from budgeted.gateway.stated_gateway import StatedGateway, missing_key, stated_gateway
from budgeted.http_server.same_machine import is_loopback
from budgeted.ledger.urls import MEMORY, kind_of
from budgeted.limits.limit import Limit

F = TypeVar("F", bound=Callable[..., None])

_PLAIN = ListenSettings()


def _settings(command: F) -> F:
    """The options that are settings of ``[gateway]``."""
    for option in reversed(
        (
            click.option("--host", help=f"Where it listens.  [default: {_PLAIN.host}]"),
            click.option("--port", type=int, help=f"0 for any that is free.  [default: {_PLAIN.port}]"),
            click.option(
                "--open/--keys",
                "open",
                default=None,
                help="Want no keys: whoever can reach it says itself who pays. On this machine alone.",
            ),
            click.option(
                "--upstream",
                "upstreams",
                multiple=True,
                metavar="NAME=URL",
                help="Where a provider is, as its SDK takes base URLs. Repeatable.",
            ),
            click.option("--workers", type=int, help="How many processes serve.  [default: 1]"),
            click.option("--access-log/--no-access-log", default=None, help="Tell of each request in the log."),
        )
    ):
        command = option(command)
    return command


@click.command()
@_settings
@click.option("--limit", "limits", multiple=True, help="What may be spent by all together, as '$10/day'. Repeatable.")
@click.option("--ssl-certfile", type=click.Path(exists=True, dir_okay=False), help="The certificate, for https.")
@click.option("--ssl-keyfile", type=click.Path(exists=True, dir_okay=False), help="The certificate's key.")
@click.option("--check", is_flag=True, help="Look whether all is well, tell of it, and start nothing.")
@ledger_option
@project_option
def gateway(
    *,
    limits: tuple[str, ...],
    ssl_certfile: str | None,
    ssl_keyfile: str | None,
    check: bool,
    ledger: str | None,
    project: str,
    **options: object,
) -> None:
    """Forward requests to providers of models, and hold, limit and settle what they cost.

    All that it can be told is in [gateway] of the settings file, or in BUDGETED_GATEWAY_* variables, such as
    BUDGETED_GATEWAY_PORT; options win over these. Limits, prices and all else are as for every program; see `budgeted
    config`. --check ends with exit code 1 where something is wrong.

    To a browser it shows what is left, who spends, and who was refused: everything to who has a token of BUDGETED_TOKEN
    (or of BUDGETED_READ_TOKEN, to look only), and to who has a key what its user has left.
    """
    if ssl_keyfile and not ssl_certfile:
        raise click.UsageError("--ssl-keyfile needs --ssl-certfile: the certificate that it is the key of")
    stated = stated_gateway(os.environ, options)
    named = told_apart(limits, "", "--limit").limits
    Limit.parse_all(named)  # each may be right, and not all of them together
    refuse_to_serve_strangers(stated)
    if check:
        sys.exit(0 if check_gateway(stated, ledger, project, named) else 1)
    for name in stated.settings.upstreams:
        if (problem := missing_key(stated, name, os.environ)) is not None:
            raise click.ClickException(problem)
    if stated.listening.workers > 1 and ledger is not None and kind_of(ledger) == MEMORY:
        raise click.UsageError(f"{ledger} is one process's alone: several workers need a path or a URL")
    try:
        from budgeted.cli.gateway_process import GatewayProcess
    except ImportError as error:
        raise click.ClickException(f"{error}; pip install 'budgeted[gateway]'") from error
    process = GatewayProcess(stated, ledger, project, named, ssl_certfile=ssl_certfile, ssl_keyfile=ssl_keyfile)
    process.serve()


def refuse_to_serve_strangers(stated: StatedGateway) -> None:
    """Refuse to serve others than this machine without keys.

    Raises:
        ClickException: there are none, and the address is not of the loopback.
    """
    host = stated.listening.host
    if stated.settings.open and not is_loopback(host):
        where = stated.sources.get("host") or stated.sources["open"]
        raise click.ClickException(
            f"{where}: on {host} everybody who reaches this gateway could spend; leave --open out, and make keys with "
            f"`budgeted keys create USER`, or listen on 127.0.0.1"
        )
