"""A gateway whose ledger is away as it starts: it answers that, until the ledger is there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budgeted.errors import BudgetError, LedgerError
from budgeted.gateway.page_of_project import page_while_away
from budgeted.gateway.page_requests import BEGINNINGS, is_for_page
from budgeted.gateway.refusals import AWAY, Answer, answer, dialect_of, refusal_of, send_answer

RETRY_SECONDS: Final = 1.0
"""Between two looks whether the ledger is there."""

logger = logging.getLogger("budgeted")


class LateStart:
    """An ASGI application that becomes another one, as soon as that can be made.

    Args:
        make: makes it; raises while its ledger is away. It is called in a thread.
        error: why it cannot be made yet.

    Example:
        >>> app = LateStart(lambda: create_gateway(budgeted.configure(ledger="redis://..."), callers), error)
    """

    def __init__(self, make: Callable[[], ASGIApp], error: LedgerError) -> None:
        self._make, self._error = make, error
        self._app: ASGIApp | None = None
        self._page = page_while_away()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what the other application would, or that it is not there yet."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            if scope["raw_path"][:6] in BEGINNINGS and is_for_page(scope):
                await self._page(scope, receive, send)
            else:
                await send_answer(send, self._answer(scope["path"]), head=scope["method"] == "HEAD")

    def _answer(self, path: str) -> Answer:
        if path in ("/", "/health", "/health/live", "/health/ready"):
            alive = path in ("/", "/health/live")
            told = {"status": "ok"} if alive else {"status": "unavailable", "ledger": AWAY}
            body = msgspec.json.encode(told)
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            return Answer(200 if alive else 503, headers, body)
        return answer(refusal_of(self._error), dialect_of(path))

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        making = asyncio.create_task(self._keep_trying())
        while (message := await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        making.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await making
        if self._app is None:
            await send({"type": "lifespan.shutdown.complete"})
            return

        async def end() -> Message:
            return message

        await self._app(scope, end, send)

    async def _keep_trying(self) -> None:
        told = ""
        while self._app is None:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                # Not cut where the process is told to stop: what is made then is closed like any other.
                self._app = await asyncio.shield(asyncio.to_thread(self._make))
            except LedgerError as error:
                self._error = error
            except (BudgetError, ValueError, TypeError) as error:
                if str(error) != told:
                    told = str(error)
                    logger.error("budgeted: the gateway cannot serve: %s", told)  # noqa: TRY400 - its text tells all
        logger.warning("budgeted: the ledger is there, and the gateway serves")
