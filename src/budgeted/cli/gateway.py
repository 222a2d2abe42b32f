"""``budgeted gateway``."""

from __future__ import annotations

import gc
import logging

import click

from budgeted.cli.ledger_options import ledger_option, project_option


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8788, show_default=True)
@click.option("--open", "open_", is_flag=True, help="Want no keys: whoever can reach it says itself who pays.")
@click.option(
    "--upstream",
    "upstreams",
    multiple=True,
    metavar="NAME=URL",
    help="Where a provider is, as its SDK takes base URLs.",
)
@ledger_option
@project_option
def gateway(host: str, port: int, open_: bool, upstreams: tuple[str, ...], ledger: str | None, project: str) -> None:
    """Forward requests to providers of models, and hold, limit and settle what they cost.

    For example: budgeted gateway --open --upstream openai=https://api.openai.com/v1

    Limits, prices and all else are as the settings file and BUDGETED_* variables have them; see `budgeted config`.
    """
    try:
        import uvicorn

        from budgeted.gateway.application import create_gateway
        from budgeted.gateway.callers import OpenCallers
        from budgeted.gateway.key_callers import KeyCallers
        from budgeted.gateway.settings import GatewaySettings
    except ImportError as error:
        raise click.ClickException(f"{error}; pip install 'budgeted[gateway]'") from error
    import budgeted

    settings = GatewaySettings(upstreams=_upstreams(upstreams), open=open_)
    manager = budgeted.configure(project_name=project, ledger=ledger)
    app = create_gateway(manager, OpenCallers() if open_ else KeyCallers(manager), settings)
    logging.basicConfig(level=logging.INFO)
    # What has been imported lives as long as the process: looking through it again and again would hold up requests.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    uvicorn.run(app, host=host, port=port, access_log=False, server_header=False, log_level="info")
    manager.close()


def _upstreams(given: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for one in given:
        name, equals, url = one.partition("=")
        if not equals:
            msg = f"--upstream is like openai=https://api.openai.com/v1, got {one!r}"
            raise click.UsageError(msg)
        found[name] = url
    return found
