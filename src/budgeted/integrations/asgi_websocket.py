"""One WebSocket under ASGI: refused before it is accepted, it is denied with a status; later, closed with a reason."""

from __future__ import annotations

import sys
from http import HTTPStatus

from budgeted.errors import BudgetError, refusal_behind
from budgeted.integrations.asgi_http import encoded
from budgeted.integrations.asgi_types import Application, Message, Receive, Scope, Send
from budgeted.integrations.problem_answers import PayerError, answer_to, note
from budgeted.integrations.request_payer import RequestBlock

POLICY_VIOLATION = 1008
"""RFC 6455's code where a message is against what the server allows."""

_OF_APPLICATIONS = 4000 + POLICY_VIOLATION % 1000
"""The same where a server takes only codes that are the applications' own."""

_FAILED = (1011, 4500)
"""The codes that frameworks close with where the application has raised; 4500 is Litestar's."""

_LONGEST_REASON = 123
"""Bytes: a close frame's payload has 125, of which the code takes two."""

_DENIAL = "websocket.http.response"


class WebSocketExchange:
    """One WebSocket.

    Args:
        scope: the request's.
        send: the server's.
        status: of a denial where the same request will pass after a while.

    Attributes:
        block: who pays for all that is called while it is open, once that is known.
    """

    def __init__(self, scope: Scope, send: Send, status: int) -> None:
        self.block: RequestBlock | None = None
        self._scope, self._server, self._status = scope, send, status
        self._accepted = self._closed = self._denying = False

    async def serve(self, app: Application, receive: Receive) -> None:
        """Have the application talk, and close the WebSocket if it is refused and nobody handles that."""
        try:
            await app(self._scope, receive, self.send)
        except Exception as error:
            if not await self._refused(error):
                raise
        finally:  # its traceback has frames that refer to all of this
            if self.block is not None:
                self.block.refusal = None

    async def _refused(self, raised: Exception) -> bool:
        """Deny or close it for what the application has raised; False if that is no refusal."""
        refusal = refusal_behind(raised)
        if refusal is not None:
            await self.refuse(refusal, raised)
        return refusal is not None

    async def refuse(self, error: BudgetError | PayerError, raised: Exception | None = None) -> None:
        """Deny or close it, if that was not done before.

        Args:
            error: why.
            raised: what came of it.
        """
        answer = answer_to(error, self._status, raised)
        closed, self._closed = self._closed, True
        where = "had been closed before" if closed else "was closed, as by" if self._accepted else "was denied with"
        note(answer, "WEBSOCKET", self._scope["path"], where)
        if closed:
            return
        if self._accepted:
            reason = answer.summary.encode()[:_LONGEST_REASON].decode(errors="ignore")
            close = {"type": "websocket.close", "reason": reason}
            try:
                await self._server({**close, "code": POLICY_VIOLATION})
            except Exception:  # noqa: BLE001 - Daphne has but one kind, and takes only codes for applications
                await self._server({**close, "code": _OF_APPLICATIONS})
        elif _DENIAL in (self._scope.get("extensions") or {}):
            start = {"type": f"{_DENIAL}.start", "status": answer.status, "headers": encoded(answer.headers)}
            await self._server(start)
            await self._server({"type": f"{_DENIAL}.body", "body": answer.body, "more_body": False})
        else:
            await self._server({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": ""})

    async def send(self, message: Message) -> None:
        """Pass on what the application sends, unless it says that it failed, where it was refused."""
        kind = message["type"]
        failed = (kind == "websocket.close" and message.get("code") in _FAILED) or (
            kind == f"{_DENIAL}.start" and message["status"] == HTTPStatus.INTERNAL_SERVER_ERROR
        )
        refusal = self._behind() if failed else None
        if refusal is not None and not self._closed:
            self._denying = kind != "websocket.close"
            await self.refuse(refusal)
        elif not (self._denying and kind == f"{_DENIAL}.body"):
            self._accepted = self._accepted or kind == "websocket.accept"
            self._closed = self._closed or kind in ("websocket.close", f"{_DENIAL}.start")
            await self._server(message)

    def _behind(self) -> BudgetError | None:
        """The refusal for which a framework closes."""
        handled = sys.exception()
        if handled is not None:
            return refusal_behind(handled)
        return None if self.block is None else self.block.refusal
