"""Middleware for WSGI applications: Flask, Django, Bottle, Pyramid, and any other.

Each request's calls are its user's, in the view and in what is streamed, whichever thread takes the next piece of it;
and a refusal that nobody handled becomes an answer::

    app.wsgi_app = BudgetMiddleware(app.wsgi_app, user="x-user")  # Flask; see also budgeted.integrations.flask
    application = BudgetMiddleware(application, user="x-user")  # any other
"""

from __future__ import annotations

import errno
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import copy_context
from types import TracebackType
from typing import Never, TypeAlias
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from budgeted.errors import BudgetError, refusal_behind
from budgeted.integrations.problem_answers import (
    ANSWERED,
    ANSWERED_BEFORE,
    CUT_SHORT,
    Answer,
    PayerError,
    answer_to,
    note,
)
from budgeted.integrations.request_payer import (
    RequestBlock,
    RequestPayer,
    UserOf,
    check_application,
    check_headers,
    check_status,
    failing,
    figures,
    run_inside,
)
from budgeted.manager.budget_manager import BudgetManager
from budgeted.manager.unknown_keywords import documented, refuse_unknown
from budgeted.payers.cap_text import CapLike
from budgeted.payers.hooks_in_place import fixtures
from budgeted.payers.purpose_tags import Accounts, TagsOf
from budgeted.payers.scope import Scope, current

Write: TypeAlias = Callable[[bytes], object]
ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None] | None


class CutShortError(ConnectionResetError):
    """A response ends incomplete, since a call was refused in the midst of it.

    Servers take it for a client that is gone: they close the connection, and log no traceback.
    """

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "a call was refused in the midst of the response")


class BudgetMiddleware:
    """Has each request's calls paid by its user, and answers the refusals that nobody handled.

    Args:
        app: a WSGI application.
        user: who pays: the name of a header, which only a proxy may set, or a callable, sync or async, that is given
            the request's environ and returns a user's name; None counts as a missing header.
        cap: what each request may spend, in USD or any unit; None for no cap.
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
        >>> application = BudgetMiddleware(application, user="x-user", cap=0.50)
    """

    @documented
    def __init__(
        self,
        app: WSGIApplication,
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
        check_application(app, "WSGI")
        self.app = app
        self._payer = RequestPayer(user, cap, manager, tags)
        self._status, self._headers = check_status(status), check_headers(headers)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        response = _Response(environ, start_response, self._status, headers=self._headers, swallowed=self._swallowed)
        try:
            user = user_of(self._payer, environ, environ)
            block = self._payer.block(user, tags_of(self._payer, environ))
        except (PayerError, BudgetError) as error:
            return response.answer(error)
        if not fixtures.intact():
            fixtures.restore()
        return response.of(self.app, block, block.scope(current()))

    def _swallowed(self, environ: WSGIEnvironment, block: RequestBlock) -> BudgetError | None:  # noqa: ARG002 - others look there
        """The refusal that a framework answers with a 500: where nobody tells, the last one."""
        return block.refusal


class _Response:
    """The response to one request, begun with its first byte: its parts are taken inside the scope of who pays."""

    def __init__(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        status: int,
        *,
        headers: bool,
        swallowed: Callable[[WSGIEnvironment, RequestBlock], BudgetError | None],
    ) -> None:
        self._environ, self._server, self._status, self._headers = environ, start_response, status, headers
        self._swallowed = swallowed
        self._block: RequestBlock | None = None
        self._scope: Scope | None = None
        self._start: tuple[str, list[tuple[str, str]], ExcInfo] | None = None
        self._begun = False
        self._write: Write | None = None
        self._behind: BudgetError | None = None
        self._body: Iterable[bytes] = ()
        self._parts: Iterator[bytes] | None = None
        self._first = b""

    def of(self, app: WSGIApplication, block: RequestBlock, scope: Scope) -> Iterable[bytes]:
        """The body of an application's response."""
        self._block, self._scope = block, scope
        try:
            self._body = run_inside(scope, functools.partial(app, self._environ, self.start))
        except Exception as error:
            instead = self._instead(error)
            if instead is None:
                raise
            return instead
        if self._behind is not None:
            return self._refused(self._behind)
        if isinstance(self._body, (list, tuple)) and self._start is not None:  # whose length the server may look at
            self._begin()
            block.refusal = None
            return self._body
        return self._begun_with_its_first_part()

    def _begun_with_its_first_part(self) -> Iterable[bytes]:
        """The body, whose first part is there: some servers take the status for known once the application returns."""
        try:
            self._first = self._part()
        except StopIteration:
            pass
        except Exception as error:
            instead = self._instead(error)
            if instead is None:
                self.close()
                raise
            return instead
        return self if self._behind is None else self._refused(self._behind)

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo = None, /) -> Write:
        """``start_response``, as the application has it: kept until there is something to send."""
        if self._begun:
            return self._server(status, headers, exc_info)  # which raises what has gone wrong
        self._start = status, headers, exc_info
        self._behind = self._refusal_of(status)
        return self._written

    def _written(self, data: bytes) -> object:
        """Send by the function that ``start_response`` returns, as old applications do."""
        self._begin()
        assert self._write is not None  # noqa: S101 - it was begun
        return self._write(data)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        """The next part that is not empty, taken for whoever pays."""
        first, self._first = self._first, b""
        if first:
            return first
        try:
            return self._part()
        except StopIteration:
            raise
        except Exception as error:
            self._instead(error)
            raise

    def _part(self) -> bytes:
        """The next part that is not empty; the response begins with the first, unless that is a refusal's 500."""
        while True:
            try:
                part = self._step()
            except StopIteration:
                if self._behind is None:
                    self._begin()
                raise
            if part or self._behind is not None:
                break
        if self._behind is None:
            self._begin()
        return part

    def _step(self) -> bytes:
        assert self._scope is not None  # noqa: S101 - there is a body
        if self._parts is None:
            body, self._parts = self._body, iter(())
            self._parts = run_inside(self._scope, lambda: iter(body))
        parts = self._parts
        return run_inside(self._scope, lambda: next(parts))

    def close(self) -> None:
        """Close the application's body, for whoever pays."""
        body, self._body = self._body, ()
        # In a copy of the context: a collector may close this, in the midst of a change of the context itself.
        try:
            copy_context().run(self._close, body)
        except Exception as error:
            if not self._noted(error):
                raise
        self._behind = None
        if self._block is not None:
            self._block.refusal = None

    def _noted(self, raised: Exception) -> bool:
        """Write a line of what the end of a body was refused; False if it has raised something else."""
        refusal = refusal_behind(raised)
        if refusal is not None:
            self._note(answer_to(refusal, self._status, raised), ANSWERED_BEFORE)
        return refusal is not None

    def _close(self, body: Iterable[bytes]) -> None:
        close = getattr(body, "close", None)
        if close is not None and self._scope is not None:
            run_inside(self._scope, close)

    def answer(self, error: BudgetError | PayerError, raised: Exception | None = None) -> list[bytes]:
        """Answer that the request is refused, instead of what the application has begun.

        Args:
            error: why.
            raised: what came of it.
        """
        answer = answer_to(error, self._status, raised)
        self._note(answer, ANSWERED)
        self._behind = None
        self._start = answer.status_line, answer.headers, None
        self._begin()
        return [b"" if self._environ.get("REQUEST_METHOD") == "HEAD" else answer.body]

    def _instead(self, raised: Exception) -> Iterable[bytes] | None:
        """The answer in place of what the application has raised; None if that is no refusal.

        Raises:
            CutShortError: it is one, and the response has begun.
        """
        # Here, since a local variable of a frame that its own traceback refers to would wait for the collector.
        refusal = refusal_behind(raised)
        return None if refusal is None else self._refused(refusal, raised)

    def _refused(self, refusal: BudgetError, raised: Exception | None = None) -> Iterable[bytes]:
        """The answer where the application raised, or answered with a 500."""
        if self._begun:  # by what start_response returns
            self._note(answer_to(refusal, self._status, raised), CUT_SHORT)
            raise CutShortError from None
        self.close()
        return self.answer(refusal, raised)

    def _begin(self) -> None:
        """Tell the server status and headers, if that was not done before."""
        start, self._start = self._start, None
        if start is None:
            return
        status, headers, exc_info = start
        if self._headers and self._block is not None:
            headers = [*headers, *figures(self._block)]
        self._begun = True
        self._write = self._server(status, headers) if exc_info is None else self._server(status, headers, exc_info)

    def _refusal_of(self, status: str) -> BudgetError | None:
        """The refusal that a framework answers with this status."""
        if not status.startswith("500"):
            return None
        handled = sys.exception()
        if handled is not None:
            return refusal_behind(handled)
        return None if self._block is None else self._swallowed(self._environ, self._block)

    def _note(self, answer: Answer, where: str) -> None:
        note(answer, self._environ.get("REQUEST_METHOD", ""), self._environ.get("PATH_INFO", ""), where)


def user_of(payer: RequestPayer, environ: WSGIEnvironment, request: object) -> str:
    """The user who pays for a request.

    Args:
        payer: who knows how to tell.
        environ: the request's.
        request: what a callable is given.

    Raises:
        PayerError, BudgetError: there is none.
    """
    if payer.user is None:
        value = environ.get("HTTP_" + payer.header.upper().replace("-", "_"))
        return payer.of_header([] if value is None else [value])
    found = payer.asked(request)
    with failing(payer.user):
        found = awaited(found)
    return payer.of_callable(found)


def tags_of(payer: RequestPayer, request: object) -> Accounts | None:
    """The accounts of a request's tags; None where no request is looked at for them.

    Args:
        payer: who knows how to tell.
        request: what callables are given.

    Raises:
        PayerError, BudgetError: they cannot be told.
    """
    if not payer.tags:
        return None
    told = payer.asked_tags(request)
    with failing(payer.tags, "tags"):
        found = awaited(told)
        if isinstance(found, Mapping):
            found = {name: awaited(one) for name, one in found.items()}
    return payer.tags_of(found)


def awaited(found: object) -> object:
    """What a callable returned, or what that comes to, if it is to be awaited: no event loop runs in this thread."""
    if not inspect.isawaitable(found):
        return found
    import asyncio

    async def wait() -> object:
        return await found

    return asyncio.run(wait())
