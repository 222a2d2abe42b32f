"""Under the ASGI middleware every call of a request is its user's, in whatever form it is made, and nobody else's."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Annotated

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Request, WebSocket
from fastapi.responses import Response, StreamingResponse
from serving_apps import Serving, calls, spend, spend_async
from starlette.middleware.base import BaseHTTPMiddleware
from websockets.sync.client import connect

from budgeted import BudgetManager
from budgeted.integrations.asgi import BudgetMiddleware
from budgeted.payers.scope import current

ended: defaultdict[str, threading.Event] = defaultdict(threading.Event)
"""By path: set when the server is through with a request, which may be after its response."""


def parts() -> Iterator[str]:
    for _ in range(3):
        spend()
        yield "part "


async def parts_async() -> AsyncIterator[str]:
    for _ in range(3):
        await spend_async()
        yield "part "


def paid_dependency() -> Iterator[None]:
    spend()
    yield
    spend()


async def paid_dependency_async() -> AsyncIterator[None]:
    await spend_async()
    yield
    await spend_async()


async def beside(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    if "beside" in request.url.path:
        await spend_async()
    return response


def application(manager: BudgetManager) -> FastAPI:
    app = FastAPI()
    app.add_middleware(BaseHTTPMiddleware, dispatch=beside)
    app.add_middleware(BudgetMiddleware, user="x-user", manager=manager)
    app.add_middleware(Ending)

    @app.get("/async")
    async def _() -> None:
        await spend_async()

    @app.get("/sync")
    @app.get("/beside")
    def _() -> None:
        spend()

    @app.get("/thread")
    async def _() -> None:
        await asyncio.to_thread(spend)

    @app.get("/task")
    async def _() -> None:
        await asyncio.create_task(spend_async())

    @app.get("/stream")
    def _() -> StreamingResponse:
        return StreamingResponse(parts())

    @app.get("/stream-async")
    async def _() -> StreamingResponse:
        return StreamingResponse(parts_async())

    @app.get("/dependency")
    def _(_: Annotated[None, Depends(paid_dependency)]) -> None:
        spend()

    @app.get("/dependency-async")
    async def _(_: Annotated[None, Depends(paid_dependency_async)]) -> None:
        await spend_async()

    @app.get("/background")
    async def _(tasks: BackgroundTasks) -> None:
        tasks.add_task(spend)
        tasks.add_task(spend_async)

    @app.get("/left")
    async def _() -> StreamingResponse:
        return StreamingResponse(endless())

    @app.websocket("/socket")
    async def _(socket: WebSocket) -> None:
        await socket.accept()
        async for _ in socket.iter_text():
            await spend_async()
            await socket.send_text("paid")

    return app


async def endless() -> AsyncIterator[str]:
    while True:
        await spend_async()
        yield "part "


class Ending:
    """Around all: tells when a request has ended."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, object], receive: object, send: object) -> None:
        try:
            await self.app(scope, receive, send)
        finally:
            ended[str(scope.get("path"))].set()


@pytest.fixture(scope="module")
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("asgi-payers", ledger="memory://", max_budget=100) as manager:
        yield manager


@pytest.fixture(scope="module")
def serving(manager: BudgetManager) -> Iterator[Serving]:
    with Serving(application(manager)) as serving:
        yield serving


FORMS = {
    "async": 1,
    "sync": 1,
    "thread": 1,
    "task": 1,
    "stream": 3,
    "stream-async": 3,
    "dependency": 3,
    "dependency-async": 3,
    "beside": 2,
}


@pytest.mark.parametrize(("form", "count"), FORMS.items())
def test_a_requests_calls_are_its_users(form: str, count: int, serving: Serving, manager: BudgetManager) -> None:
    assert serving.get(f"/{form}", user=f"who asks for {form}").status_code == 200
    assert ended[f"/{form}"].wait(10)
    assert calls(manager)[f"who asks for {form}"] == count


def test_a_background_tasks_calls_are_its_requests_users(serving: Serving, manager: BudgetManager) -> None:
    assert serving.get("/background", user="patient").status_code == 200
    assert ended["/background"].wait(10)
    assert calls(manager)["patient"] == 2


def test_a_websockets_calls_are_its_users(serving: Serving, manager: BudgetManager) -> None:
    with connect(serving.url.replace("http", "ws") + "/socket", additional_headers={"x-user": "talker"}) as socket:
        for _ in range(3):
            socket.send("Hello!")
            assert socket.recv(10) == "paid"
    assert calls(manager)["talker"] == 3


def test_requests_of_one_connection_leave_no_payer_to_the_next(serving: Serving, manager: BudgetManager) -> None:
    for user in ("first", "second", "first"):
        assert serving.get("/sync", user=user).status_code == 200
    assert serving.get("/sync", user=None).status_code == 400
    assert (calls(manager)["first"], calls(manager)["second"]) == (2, 1)


def test_a_client_that_leaves_a_stream_leaves_no_payer(serving: Serving, manager: BudgetManager) -> None:
    with serving.client.stream("GET", "/left", headers={"x-user": "leaver"}) as response:
        assert next(response.iter_text()).startswith("part")
    assert ended["/left"].wait(10)
    paid = calls(manager)["leaver"]
    assert serving.get("/sync", user="stayer").status_code == 200
    assert (calls(manager)["leaver"], calls(manager)["stayer"]) == (paid, 1)


def test_who_calls_an_application_by_himself_has_no_payer_of_it_afterwards(manager: BudgetManager) -> None:
    async def call() -> object:
        async def app(scope: object, receive: object, send: object) -> None:
            assert current() is not None
            raise asyncio.CancelledError

        async def nothing(*_: object) -> dict[str, object]:
            return {}

        scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"x-user", b"alice")]}
        with pytest.raises(asyncio.CancelledError):
            await BudgetMiddleware(app, user="x-user", manager=manager)(scope, nothing, nothing)
        return current()

    assert asyncio.run(call()) is None


def test_a_callable_tells_who_pays_at_once_or_later(manager: BudgetManager) -> None:
    async def later(scope: dict[str, object]) -> str:
        await asyncio.sleep(0)
        return str(scope["path"])

    async def app(scope: object, receive: object, send: Callable[[dict[str, object]], Awaitable[None]]) -> None:
        await spend_async()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    for user in (later, lambda scope: scope["path"]):
        with Serving(BudgetMiddleware(app, user=user, manager=manager)) as serving:
            assert serving.get("/by-path", user=None).status_code == 200
    assert calls(manager)["/by-path"] == 2


def test_each_requests_cap_holds_for_that_request(manager: BudgetManager) -> None:
    async def app(scope: object, receive: object, send: Callable[[dict[str, object]], Awaitable[None]]) -> None:
        for _ in range(3):
            await spend_async()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    with Serving(BudgetMiddleware(app, user="x-user", manager=manager, cap=0.02)) as serving:
        found = [serving.get("/", user="capped") for _ in range(2)]
    assert [(one.status_code, one.json()["account_kind"]) for one in found] == [(402, "block")] * 2
    assert calls(manager)["capped"] == 4
