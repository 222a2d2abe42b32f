"""Middleware for ASGI applications: Starlette, FastAPI, Litestar, Quart, Django under ASGI, and any other.

Each request's calls are its user's, in the endpoint, its dependencies, streamed responses, background tasks and
WebSockets; and a refusal that nobody handled becomes an answer::

    app.add_middleware(BudgetMiddleware, user="x-user")  # Starlette, FastAPI
    app = BudgetMiddleware(app, user="x-user")  # any other
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Never

from budgeted.errors import BudgetError
from budgeted.integrations.asgi_http import HTTPExchange, holds_starlette
from budgeted.integrations.asgi_types import Application, Receive, Scope
from budgeted.integrations.asgi_websocket import WebSocketExchange
from budgeted.integrations.problem_answers import PayerError
from budgeted.integrations.request_payer import (
    RequestBlock,
    RequestPayer,
    UserOf,
    check_application,
    check_headers,
    check_status,
    failing,
    figures,
)
from budgeted.manager.budget_manager import BudgetManager
from budgeted.manager.unknown_keywords import documented, refuse_unknown
from budgeted.payers.cap_text import CapLike
from budgeted.payers.hooks_in_place import fixtures
from budgeted.payers.purpose_tags import Accounts, TagsOf
from budgeted.payers.scope import current, enter, leave

EXCHANGE = "budgeted.exchange"
"""Where an ASGI scope has the exchange, for what comes to know of the payer later."""

Exchange = HTTPExchange | WebSocketExchange


class RefusalMiddleware:
    """Answers the refusals that nobody handled, whoever pays; :class:`BudgetMiddleware` does that as well.

    Args:
        app: an ASGI application.
        status: of the answer where the same request will pass after a while; where it never will, that is 402.
        headers: whether answers have ``budgeted-spent`` and ``budgeted-remaining``, where a request's payer is known.

    Raises:
        ValueError, TypeError: an argument makes no sense; the text quotes it.

    Example:
        >>> app.add_middleware(RefusalMiddleware)
    """

    def __init__(self, app: Application, *, status: int = 429, headers: bool = False) -> None:
        check_application(app, "ASGI")
        self.app = app
        self._status, self._headers = check_status(status), check_headers(headers)
        self._starlette = holds_starlette(app)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # as any framework types them
        """Serve one connection; what is neither HTTP nor a WebSocket is left alone."""
        exchange: Exchange
        if scope["type"] == "http":
            told = self._told if self._headers else None
            exchange = HTTPExchange(scope, send, self._status, told, starlette=self._starlette)
        elif scope["type"] == "websocket":
            exchange = WebSocketExchange(scope, send, self._status)
        else:
            await self.app(scope, receive, send)
            return
        around = scope.get(EXCHANGE)
        try:
            scope[EXCHANGE] = exchange
            await self._serve(exchange, scope, receive)
        finally:  # each refers to the other
            scope[EXCHANGE] = around

    async def _serve(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:  # noqa: ARG002 - others ask it
        await exchange.serve(self.app, receive)

    async def _told(self, block: RequestBlock) -> list[tuple[str, str]]:
        """What the headers say: a ledger is asked for it, which may take a while."""
        try:
            return await _to_thread()(functools.partial(figures, block))
        except Exception:  # noqa: BLE001 - such as an executor that ends: what was paid for is answered
            return []


class BudgetMiddleware(RefusalMiddleware):
    """Has each request's calls paid by its user, and answers the refusals that nobody handled.

    Args:
        app: an ASGI application.
        user: who pays: the name of a header, which only a proxy may set, or a callable, sync or async, that is given
            the connection's scope and returns a user's name; None counts as a missing header.
        cap: what each request, or each WebSocket while it is open, may spend, in USD or any unit; None for no cap.
        tags: what requests are for: names with values, or with callables that are given what that of ``user`` is, sync
            or async; or one callable that returns such a mapping of values. None as a value: not tagged.
        manager: whose accounts; None for the default manager's.
        status: of the answer where the same request will pass after a while; where it never will, that is 402.
        headers: whether answers have ``budgeted-spent``, USD of this request until its headers were sent, and
            ``budgeted-remaining``, USD that its user or cap has left.
        unknown: any other keyword is refused, naming the one that was meant.

    Raises:
        ValueError, TypeError: an argument makes no sense; the text quotes it.

    Example:
        >>> app.add_middleware(BudgetMiddleware, user="x-user", cap=0.50)
    """

    @documented
    def __init__(
        self,
        app: Application,
        user: UserOf,
        *,
        cap: CapLike | None = None,
        tags: TagsOf | None = None,
        manager: BudgetManager | None = None,
        status: int = 429,
        headers: bool = False,
        **unknown: Never,
    ) -> None:
        refuse_unknown(unknown, BudgetMiddleware)
        super().__init__(app, status=status, headers=headers)
        self._payer = RequestPayer(user, cap, manager, tags)

    async def _serve(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        try:
            user = await user_of(self._payer, scope)
            exchange.block = self._payer.block(user, await tags_of(self._payer, scope))
        except (PayerError, BudgetError) as error:
            await _turn_away(exchange, error, receive)
            return
        if not fixtures.intact():
            fixtures.restore()
        paying = exchange.block.scope(current())
        try:
            enter(paying)
            await exchange.serve(self.app, receive)
        finally:
            leave(paying)


async def user_of(payer: RequestPayer, scope: Scope, request: object = None) -> str:
    """The user who pays for a connection.

    Args:
        payer: who knows how to tell.
        scope: the connection's.
        request: what a callable is given; None for the scope.

    Raises:
        PayerError, BudgetError: there is none.
    """
    if payer.user is None:
        name = payer.header.encode("latin-1")
        return payer.of_header([value for key, value in scope["headers"] if key.lower() == name])
    found = payer.asked(scope if request is None else request)
    if inspect.isawaitable(found):
        with failing(payer.user):
            found = await found
    return payer.of_callable(found)


async def tags_of(payer: RequestPayer, request: object) -> Accounts | None:
    """The accounts of a request's tags; None where no request is looked at for them.

    Args:
        payer: who knows how to tell.
        request: what callables are given: the connection's scope, or a framework's own request.

    Raises:
        PayerError, BudgetError: they cannot be told.
    """
    if not payer.tags:
        return None
    return await awaited_tags(payer, payer.asked_tags(request))


async def awaited_tags(payer: RequestPayer, told: object) -> Accounts:
    """The accounts of tags, some of which have to be awaited.

    Args:
        payer: who knows how to tell.
        told: by its :meth:`RequestPayer.asked_tags`.

    Raises:
        PayerError, BudgetError: they cannot be told.
    """
    with failing(payer.tags, "tags"):
        found = await told if inspect.isawaitable(told) else told
        if isinstance(found, Mapping):
            found = {name: await one if inspect.isawaitable(one) else one for name, one in found.items()}
    return payer.tags_of(found)


async def _turn_away(exchange: Exchange, error: PayerError | BudgetError, receive: Receive) -> None:
    """Answer a request for which nobody pays, without the application."""
    if isinstance(exchange, HTTPExchange):
        await exchange.answer(error)
    elif (await receive())["type"] == "websocket.connect":
        await exchange.refuse(error)


def _to_thread() -> Callable[[Callable[[], list[tuple[str, str]]]], Awaitable[list[tuple[str, str]]]]:
    """What runs a function beside this event loop."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return trio.to_thread.run_sync  # type: ignore[no-any-return]
    import asyncio

    return asyncio.to_thread
