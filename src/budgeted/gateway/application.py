"""The gateway as an ASGI application."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from budgeted.gateway.callers import Callers
from budgeted.gateway.exchange import Exchange
from budgeted.gateway.observers import Observers
from budgeted.gateway.page_requests import BEGINNINGS, is_for_page
from budgeted.gateway.settings import GatewaySettings
from budgeted.gateway.shared_parts import Gateway
from budgeted.manager.budget_manager import BudgetManager


def create_gateway(
    manager: BudgetManager,
    callers: Callers,
    settings: GatewaySettings | None = None,
    environment: Mapping[str, str] | None = None,
    observers: Observers | None = None,
    *,
    shows_page: bool = True,
) -> ASGIApp:
    """A gateway, as an ASGI application: it holds what a request may cost, sends it on, and settles what it has cost.

    To a browser it shows the page of its project.

    Args:
        manager: whose accounts pay.
        callers: who tells who asks.
        settings: None for the usual ones.
        environment: where the upstreams' keys are, and the page's tokens; None for this process's.
        observers: who is told of requests; None for nobody.
        shows_page: whether browsers are shown the page.

    Raises:
        ValueError: a setting makes no sense; the text quotes it.

    Example:
        >>> app = create_gateway(budgeted.get_manager(), OpenCallers())
    """
    environment = os.environ if environment is None else environment
    traces = None if observers is None else observers.traces
    gateway = Gateway(settings or GatewaySettings(), manager, callers, environment, traces)
    page = _page(gateway, environment) if shows_page else None

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if page is not None and scope["raw_path"][:6] in BEGINNINGS and is_for_page(scope):
                await page(scope, receive, send)
                return
            exchange = Exchange(gateway, scope, receive, send)
            await (exchange.serve() if observers is None else observers.serve(exchange, scope, send))
        elif scope["type"] == "lifespan":
            await _live(gateway, receive, send)

    return app


def _page(gateway: Gateway, environment: Mapping[str, str]) -> ASGIApp:
    # Here, as importing it takes longer than a gateway without one does to start.
    from budgeted.gateway.page_of_project import PageOfProject

    return PageOfProject(gateway, environment)


async def _live(gateway: Gateway, receive: Receive, send: Send) -> None:
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    with contextlib.suppress(Exception):  # what has gone wrong there is charged, and the process ends
        await gateway.close()
    await send({"type": "lifespan.shutdown.complete"})
