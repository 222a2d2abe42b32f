"""One HTTP request under ASGI: its answer is begun with its first byte, so that a refusal before that has a status.

Frameworks send the start of a response before they ask a stream for its first item, and some answer an exception with a
500 themselves. The start is held back until there is something to send. A 500 that comes of a refusal is replaced. One
of Starlette's is held back until that raises what nobody has handled, or returns, since the application's own look
alike. No other framework is waited for, as it may itself wait for the client. Nothing else is buffered.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from budgeted.errors import BudgetError, refusal_behind
from budgeted.integrations.asgi_types import Application, Message, Receive, Scope, Send
from budgeted.integrations.problem_answers import (
    ANSWERED,
    ANSWERED_BEFORE,
    CUT_SHORT,
    Answer,
    PayerError,
    answer_to,
    note,
)
from budgeted.integrations.request_payer import RequestBlock

Figures = Callable[[RequestBlock], Awaitable[list[tuple[str, str]]]]
"""Tells what headers say of a block."""

_BODY = ("http.response.body", "http.response.pathsend", "http.response.zerocopysend", "http.response.trailers")

_DEEPEST = 100
"""Layers of middleware that are looked through."""

_MOST_HELD = 1_000_000
"""Bytes of a 500 that are held back: who answers with more means it."""


class HTTPExchange:
    """One request and its response.

    Args:
        scope: the request's.
        send: the server's.
        status: of the answer where the same request will pass after a while.
        figures: what the headers tell; None where they are to tell nothing.
        starlette: whether the application is known to be Starlette's.

    Attributes:
        block: who pays for the request, once that is known.
    """

    def __init__(
        self, scope: Scope, send: Send, status: int, figures: Figures | None, *, starlette: bool = False
    ) -> None:
        self.block: RequestBlock | None = None
        self._starlette, self._around = starlette, scope.get("app")
        self._scope, self._server = scope, send
        self._status, self._figures = status, figures
        self._start: Message | None = None
        self._begun = self._ended = False
        self._replaced = False
        self._holds = False
        self._held: list[Message] = []
        self._last: Message | None = None
        self._last_refusal: BudgetError | None = None

    async def serve(self, app: Application, receive: Receive) -> None:
        """Have the application answer, or where it is refused and nobody handles that, answer for it."""
        try:
            await app(self._scope, receive, self.send)
        except Exception as error:
            if not await self._answered(error):
                raise
        else:
            await self._go_on()
            await self._begin()
        finally:  # a refusal's traceback has frames that refer to all of this
            self._last_refusal = None
            if self.block is not None:
                self.block.refusal = None

    async def answer(self, error: BudgetError | PayerError, raised: Exception | None = None) -> None:
        """Answer that the request is refused. Nothing was sent yet.

        Args:
            error: why.
            raised: what came of it.
        """
        answer = answer_to(error, self._status, raised)
        self._note(answer)
        self._start = {"type": "http.response.start", "status": answer.status, "headers": encoded(answer.headers)}
        self._holds, self._held, self._last = False, [], None
        await self._begin()
        body = b"" if self._scope["method"] == "HEAD" else answer.body
        await self._forward({"type": "http.response.body", "body": body, "more_body": False})

    async def send(self, message: Message) -> None:
        """Pass on what the application sends, the start not before the first byte."""
        kind = message["type"]
        if self._replaced:
            return
        if kind == "http.response.start":
            await self._note_start(message)
        elif kind not in _BODY:
            await self._server(message)
        elif self._holds:
            self._held.append(message)
            if sum(len(one.get("body", b"")) for one in self._held) > _MOST_HELD:
                await self._go_on()
        else:
            await self._send_body(message)

    async def _note_start(self, message: Message) -> None:
        self._start = message
        if message["status"] != HTTPStatus.INTERNAL_SERVER_ERROR:
            return
        # What is being handled, if a framework answers where it has caught it; a refusal of that, or the last one.
        handled = sys.exception()
        if self._of_starlette:
            self._holds = refusal_behind(handled) is not None
        elif (refusal := refusal_behind(handled) if handled is not None else self._refusal) is not None:
            self._replaced = True
            await self.answer(refusal)

    async def _send_body(self, message: Message) -> None:
        empty = message["type"] == "http.response.body" and not message.get("body")
        last = not message.get("more_body", False)
        if empty and not last and not self._begun:
            return
        # Its BaseHTTPMiddleware ends a response in good order before it raises what has cut it short.
        if empty and last and self._refusal is not None and self._of_starlette:
            self._last, self._last_refusal = message, self._refusal
            return
        await self._begin()
        await self._forward(message)

    async def _answered(self, raised: Exception) -> bool:
        """Answer what the application has raised, or where its answer has begun, leave that incomplete.

        Returns:
            False if that is no refusal.
        """
        refusal = refusal_behind(raised)
        if refusal is None or (self._last is not None and refusal is not self._last_refusal):
            await self._go_on()
        if refusal is None:
            return False
        if self._replaced:
            return True
        if self._begun:
            self._note(answer_to(refusal, self._status, raised), ANSWERED_BEFORE if self._ended else CUT_SHORT)
        else:
            await self.answer(refusal, raised)
        return True

    async def _go_on(self) -> None:
        """Send what was held back: nobody is refused by it."""
        self._holds = False
        held = [*self._held, *([] if self._last is None else [self._last])]
        self._held, self._last = [], None
        for message in held:
            await self._begin()
            await self._forward(message)

    async def _begin(self) -> None:
        """Send the start, if that was not done before."""
        start, self._start = self._start, None
        if start is None:
            return
        self._begun = True
        if self._figures is not None and self.block is not None:
            headers = [*start.get("headers", ()), *encoded(await self._figures(self.block))]
            start = {**start, "headers": headers}
        await self._server(start)

    async def _forward(self, message: Message) -> None:
        self._ended = not message.get("more_body", False)
        await self._server(message)

    @property
    def _refusal(self) -> BudgetError | None:
        """The last refusal of a call of this request."""
        return None if self.block is None else self.block.refusal

    @property
    def _of_starlette(self) -> bool:
        """Whether the application is Starlette's: it raises what nobody has handled, whatever it has answered."""
        if self._starlette:
            return True
        found: object = self._scope.get("app")  # which one of Starlette's has put there, perhaps around all of this
        return found is not self._around and _is_of_starlette(found)

    def _note(self, answer: Answer, where: str = ANSWERED) -> None:
        note(answer, self._scope["method"], self._scope["path"], where)


def encoded(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI has them."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def holds_starlette(app: object) -> bool:
    """Whether an application is Starlette's, as far as can be seen: middleware may be around it."""
    for _ in range(_DEEPEST):
        if app is None or _is_of_starlette(app):
            return app is not None
        app = getattr(app, "app", None)
    return False


def _is_of_starlette(app: object) -> bool:
    applications, routing = (sys.modules.get(f"starlette.{name}") for name in ("applications", "routing"))
    return (applications is not None and isinstance(app, applications.Starlette)) or (
        routing is not None and isinstance(app, routing.Router)
    )
