"""A Django project in one module, for tests under both of its interfaces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import django
from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from django.utils.decorators import sync_and_async_middleware
from serving_apps import spend, spend_async

from budgeted import BudgetError
from budgeted.manager.administrative_manager import Books

TOO_MUCH = 2

# Not the default one of the whole process, which collects this file and runs others.
manager = Books("django-project", ledger="memory://", max_budget=100, default_user_limits="$2.50/day")

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        MIDDLEWARE=["budgeted.integrations.django.BudgetMiddleware", f"{__name__}.raising"],
        BUDGETED={"user": "x-user", "manager": manager, "headers": True},
        LOGGING_CONFIG=None,
    )
    django.setup()


@sync_and_async_middleware
def raising(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """A middleware below ours that may be refused."""
    if not iscoroutinefunction(get_response):
        return raising_sync(get_response)

    async def middleware(request: HttpRequest) -> HttpResponse:
        if request.path == "/middleware":
            await spend_async(TOO_MUCH)
        return await get_response(request)

    return middleware


def raising_sync(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """The same as most are: where there is one, all around it are called in a thread."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path == "/middleware":
            spend(TOO_MUCH)
        return get_response(request)

    return middleware


def paid(request: HttpRequest) -> HttpResponse:
    spend()
    return HttpResponse("paid")


async def paid_async(request: HttpRequest) -> HttpResponse:
    await spend_async()
    return HttpResponse("paid")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Iterator[str]:
        for _ in range(3):
            spend(float(request.GET.get("usd", 0.01)))
            yield "part "

    return StreamingHttpResponse(parts())


def stream_async(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[str]:
        for _ in range(3):
            await asyncio.sleep(0)
            await spend_async(float(request.GET.get("usd", 0.01)))
            yield "part "

    return StreamingHttpResponse(parts())


def refused(request: HttpRequest) -> HttpResponse:
    spend(TOO_MUCH)
    return HttpResponse()


async def refused_async(request: HttpRequest) -> HttpResponse:
    await spend_async(TOO_MUCH)
    return HttpResponse()


def handled(request: HttpRequest) -> HttpResponse:
    try:
        spend(TOO_MUCH)
    except BudgetError:
        return HttpResponse("mine", status=500)
    raise AssertionError


def bug(request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError


urlpatterns: list[Any] = [
    path("paid", paid),
    path("paid-async", paid_async),
    path("stream", stream),
    path("stream-async", stream_async),
    path("refused", refused),
    path("refused-async", refused_async),
    path("middleware", paid),
    path("handled", handled),
    path("bug", bug),
]

User = Callable[[HttpRequest], str | Awaitable[str]]


def by_path(request: HttpRequest) -> str:
    return str(request.path)


async def by_path_later(request: HttpRequest) -> str:
    await asyncio.sleep(0)
    return str(request.path)
