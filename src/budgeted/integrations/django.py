"""Django: each request's calls are its user's, and refusals are answered, under WSGI and ASGI.

::

    MIDDLEWARE = [..., "budgeted.integrations.django.BudgetMiddleware"]
    BUDGETED = {"user": "x-user"}
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import cast

from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings  # type: ignore[import-untyped]
from django.core.exceptions import ImproperlyConfigured, RequestAborted  # type: ignore[import-untyped]
from django.core.handlers.asgi import ASGIRequest  # type: ignore[import-untyped]
from django.core.signals import got_request_exception  # type: ignore[import-untyped]
from django.http import (  # type: ignore[import-untyped]
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.utils.module_loading import import_string  # type: ignore[import-untyped]

from budgeted.errors import BudgetError, refusal_behind
from budgeted.integrations.asgi import awaited_tags
from budgeted.integrations.problem_answers import PayerError, UnhandledRefusals, answer_to, note
from budgeted.integrations.request_payer import (
    RequestBlock,
    RequestPayer,
    UserOf,
    check_headers,
    check_status,
    failing,
    figures,
    run_inside,
)
from budgeted.integrations.wsgi import CutShortError, tags_of, user_of
from budgeted.manager.budget_manager import BudgetManager
from budgeted.manager.unknown_keywords import refuse_unknown
from budgeted.payers.cap_text import CapLike
from budgeted.payers.hooks_in_place import fixtures
from budgeted.payers.purpose_tags import Accounts, TagsOf
from budgeted.payers.scope import Scope, current, enter, leave
from budgeted.validation import shown

_REFUSAL = "_budgeted_refusal"
"""The attribute of a request that has the refusal which nobody handled."""

_filter = UnhandledRefusals()


class BudgetMiddleware:
    """Has each request's calls paid by its user, and answers the refusals that nobody handled.

    Its settings are the mapping ``BUDGETED`` of Django's settings: ``user``, and if need be ``cap``, ``tags``,
    ``manager``, ``status`` and ``headers``, as :class:`budgeted.integrations.asgi.BudgetMiddleware` has them. A
    callable ``user`` or ``tags`` is given the request, and may be written as its dotted path. If it looks at
    ``request.user``, this goes below ``AuthenticationMiddleware``.

    Args:
        get_response: the rest of Django's chain, which Django gives.

    Raises:
        ImproperlyConfigured: a setting makes no sense; the text quotes it.

    Example:
        >>> BUDGETED = {"user": "my_app.payers.user_of", "cap": 0.50}
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response
        self._async = iscoroutinefunction(get_response)
        if self._async:
            markcoroutinefunction(self)
        given = getattr(settings, "BUDGETED", None)
        if not isinstance(given, dict) or "user" not in given:
            msg = f"the setting BUDGETED must say who pays, as in BUDGETED = {{'user': 'x-user'}}; got {shown(given)}"
            raise ImproperlyConfigured(msg)
        try:
            self._payer, self._status, self._headers = _read(**given)
        except (ValueError, TypeError, ImportError) as error:
            msg = f"the setting BUDGETED makes no sense: {error}"
            raise ImproperlyConfigured(msg) from error
        logging.getLogger("django.request").addFilter(_filter)
        got_request_exception.connect(_remember, dispatch_uid="budgeted")

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Serve one request."""
        return self._serve_async(request) if self._async else self._serve(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer what the view was refused, unless a middleware below has.

        Args:
            request: what was asked.
            exception: what the view has raised.

        Returns:
            The answer, of a status and a text that name no other user; None for what is no refusal.
        """
        refusal = refusal_behind(exception)
        return None if refusal is None else self._answered(request, refusal, exception)

    def _serve(self, request: HttpRequest) -> HttpResponseBase:
        try:
            user = user_of(self._payer, request.META, request)
            block = self._payer.block(user, tags_of(self._payer, request))
        except (PayerError, BudgetError) as error:
            return self._answered(request, error)
        paying = _scope(block)
        response = self._settled(request, run_inside(paying, functools.partial(self._get_response, request)))
        if _streams(response):
            # Under ASGI, this runs where a middleware is synchronous; the response is streamed by ASGI all the same.
            stream = async_to_sync(self._streamed_async) if isinstance(request, ASGIRequest) else self._streamed
            response = stream(request, response, paying)
        return _with_headers(response, figures(block) if self._headers else [])

    async def _serve_async(self, request: HttpRequest) -> HttpResponseBase:
        try:
            user = await self._user(request)
            block = self._payer.block(user, await self._tags(request))
        except (PayerError, BudgetError) as error:
            return self._answered(request, error)
        paying = _scope(block)
        try:
            enter(paying)
            found = await cast("Awaitable[HttpResponseBase]", self._get_response(request))
        finally:
            leave(paying)
        response = self._settled(request, found)
        if _streams(response):
            response = await self._streamed_async(request, response, paying)
        return _with_headers(response, await sync_to_async(figures)(block) if self._headers else [])

    def _streamed(self, request: HttpRequest, response: StreamingHttpResponse, paying: Scope) -> HttpResponseBase:
        """The response with its parts paid for; the answer instead where the first of them is refused."""
        parts = response.streaming_content
        # Django collects what it cannot ask step by step, and would do so once its status is sent.
        source = _collected(_steps_async(paying, parts)) if response.is_async else _steps(paying, parts)
        try:
            first = next(source, None)
        except Exception as error:  # noqa: BLE001 - looked at there
            return self._instead(request, response, error)
        response.streaming_content = self._rest(request, first, source)
        return response

    async def _streamed_async(
        self, request: HttpRequest, response: StreamingHttpResponse, paying: Scope
    ) -> HttpResponseBase:
        parts = response.streaming_content
        source = _steps_async(paying, parts) if response.is_async else _steps_in_threads(paying, parts)
        try:
            first = await anext(source, None)
        except Exception as error:  # noqa: BLE001 - looked at there
            return self._instead(request, response, error)
        response.streaming_content = self._rest_async(request, first, source)
        return response

    async def _user(self, request: HttpRequest) -> str:
        """Who pays; a plain callable may ask a database, and so runs in Django's thread."""
        asked = self._payer.user
        if asked is None or not iscoroutinefunction(asked):
            return await sync_to_async(user_of)(self._payer, request.META, request)
        with failing(asked):
            found = await cast("Awaitable[object]", asked(request))
        return self._payer.of_callable(found)

    async def _tags(self, request: HttpRequest) -> Accounts | None:
        """The accounts of the request's tags; plain callables run in Django's thread, as that of the user does."""
        if not self._payer.tags:
            return None
        return await awaited_tags(self._payer, await sync_to_async(self._payer.asked_tags)(request))

    def _settled(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """The response, or where another middleware was refused and nobody handled that, the answer to it."""
        refusal = request.__dict__.pop(_REFUSAL, None)
        return response if refusal is None else self._instead(request, response, refusal)

    def _instead(self, request: HttpRequest, response: HttpResponseBase, error: Exception) -> HttpResponse:
        """The answer to a refusal in place of another response."""
        refusal = refusal_behind(error)
        response.close()
        if refusal is None:
            raise error
        return self._answered(request, refusal, error)

    def _answered(
        self, request: HttpRequest, error: BudgetError | PayerError, raised: Exception | None = None
    ) -> HttpResponse:
        answer = answer_to(error, self._status, raised)
        note(answer, request.method, request.path)
        response = HttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))
        response._has_been_logged = True  # noqa: SLF001 - Django writes a line of its own about any other
        return response

    def _rest(self, request: HttpRequest, first: bytes | None, steps: Iterator[bytes]) -> Iterator[bytes]:
        """A stream from its first part on, cut short where a call is refused."""
        try:
            if first is not None:
                yield first
                yield from steps
        except Exception as error:  # noqa: BLE001 - looked at there
            self._cut_short(request, error)
            raise CutShortError from None

    async def _rest_async(
        self, request: HttpRequest, first: bytes | None, steps: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        try:
            if first is not None:
                yield first
                async for part in steps:
                    yield part
        except Exception as error:  # noqa: BLE001 - looked at there
            self._cut_short(request, error)
            raise _CutShortError from None

    def _cut_short(self, request: HttpRequest, error: Exception) -> None:
        refusal = refusal_behind(error)
        if refusal is None:
            raise error
        note(
            answer_to(refusal, self._status), request.method, request.path, where="was cut short, which would have been"
        )


class _CutShortError(RequestAborted, asyncio.CancelledError):  # type: ignore[misc]  # which is Any to mypy
    """After which Django ends without an end of the body, and in silence: up to 6.0 after the one, then the other."""


def _read(
    user: UserOf,
    cap: CapLike | None = None,
    manager: BudgetManager | None = None,
    status: int = 429,
    headers: bool = False,  # noqa: FBT002 - it is named where it is set
    tags: TagsOf | str | None = None,
    **unknown: object,
) -> tuple[RequestPayer, int, bool]:
    """The settings, checked."""
    refuse_unknown(unknown, _read)
    if isinstance(user, str) and "." in user:
        user = import_string(user)
    if isinstance(tags, str):
        tags = cast("TagsOf", import_string(tags))
    return RequestPayer(user, cap, manager, tags), check_status(status), check_headers(headers)


def _remember(request: HttpRequest | None = None, **_: object) -> None:
    """Django answers an exception with a 500: note the refusal that it comes of."""
    refusal = refusal_behind(sys.exception())
    if refusal is not None and request is not None:
        setattr(request, _REFUSAL, refusal)


def _scope(block: RequestBlock) -> Scope:
    if not fixtures.intact():
        fixtures.restore()
    return block.scope(current())


def _streams(response: HttpResponseBase) -> bool:
    # Files are sent by the server itself where it can.
    return isinstance(response, StreamingHttpResponse) and not isinstance(response, FileResponse)


def _steps(paying: Scope, parts: Iterator[bytes]) -> Iterator[bytes]:
    """The parts of a response, each taken inside the scope of who pays."""
    while True:
        try:
            part = run_inside(paying, functools.partial(next, parts))
        except StopIteration:
            return
        yield part


async def _steps_async(paying: Scope, parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(parts):
        while True:
            try:
                enter(paying)
                part = await anext(parts)
            except StopAsyncIteration:
                return
            finally:
                leave(paying)
            yield part


async def _steps_in_threads(paying: Scope, parts: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    steps = _steps(paying, parts)
    take = sync_to_async(lambda: next(steps, None))
    while (part := await take()) is not None:
        yield part


def _collected(steps: AsyncGenerator[bytes, None]) -> Iterator[bytes]:
    """All that an asynchronous generator yields, for a server that is not: in one event loop, as it may need."""

    async def collect() -> list[bytes]:
        return [part async for part in steps]

    yield from async_to_sync(collect)()


def _with_headers(response: HttpResponseBase, headers: list[tuple[str, str]]) -> HttpResponseBase:
    for name, value in headers:
        response[name] = value
    return response
