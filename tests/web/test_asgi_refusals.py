"""Under the ASGI middleware a refusal that nobody handles becomes an answer: a status, problem JSON, one log line."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from litestar import Litestar, get
from litestar.middleware import DefineMiddleware
from quart import Quart
from serving_apps import Serving, spend, spend_async
from starlette.middleware.base import BaseHTTPMiddleware
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from budgeted import BudgetError, BudgetExceededError, BudgetManager, LedgerUnavailableError, UnpricedModelError
from budgeted.integrations.asgi import BudgetMiddleware

TOO_MUCH = 2


def parts(before: int) -> Iterator[str]:
    for _ in range(before):
        yield "part "
    spend(TOO_MUCH)
    yield "never"


async def parts_async(before: int) -> AsyncIterator[str]:
    for _ in range(before):
        yield "part "
    await spend_async(TOO_MUCH)
    yield "never"


def refused_dependency() -> Iterator[None]:
    spend(TOO_MUCH)
    yield


async def beside(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    return await call_next(request)


class OwnError(Exception):
    """What a framework makes of what it did not expect."""


routes = APIRouter()


@routes.get("/async")
async def _() -> None:
    await spend_async(TOO_MUCH)


@routes.get("/sync")
def _() -> None:
    spend(TOO_MUCH)


@routes.get("/stream")
def _(before: int = 0) -> StreamingResponse:
    return StreamingResponse(parts(before))


@routes.get("/stream-async")
async def _(before: int = 0) -> StreamingResponse:
    return StreamingResponse(parts_async(before))


@routes.get("/empty-first")
async def _() -> StreamingResponse:
    async def body() -> AsyncIterator[str]:
        yield ""
        await spend_async(TOO_MUCH)

    return StreamingResponse(body())


@routes.get("/dependency")
def _(_: Annotated[None, Depends(refused_dependency)]) -> None: ...


@routes.get("/wrapped")
def _() -> None:
    try:
        spend(TOO_MUCH)
    except BudgetError:
        raise OwnError("it did not work")  # noqa: B904 - as libraries do


@routes.get("/group")
def _() -> None:
    try:
        spend(TOO_MUCH)
    except BudgetError as error:
        raise ExceptionGroup("several", [ValueError(), ExceptionGroup("one", [error])]) from None


@routes.get("/handled")
def _() -> PlainTextResponse:
    try:
        spend(TOO_MUCH)
    except BudgetError:
        return PlainTextResponse("a short answer")
    raise AssertionError


@routes.get("/handled-by-500")
def _() -> PlainTextResponse:
    try:
        spend(TOO_MUCH)
    except BudgetError:
        return PlainTextResponse("my own 500", 500)
    raise AssertionError


@routes.get("/bug")
def _() -> None:
    raise ZeroDivisionError


@routes.get("/background")
async def _(tasks: BackgroundTasks) -> str:
    tasks.add_task(spend, TOO_MUCH)
    return "answered"


@routes.get("/unpriced")
def _() -> None:
    raise UnpricedModelError("no price is known for model 'x'")


@routes.get("/no-ledger")
def _() -> None:
    raise LedgerUnavailableError("/var/lib/secret is not there")


@routes.websocket("/socket")
async def _(socket: WebSocket, early: int = 0) -> None:
    if not early:
        await socket.accept()
        await socket.send_text("Hello!")
    await spend_async(TOO_MUCH)


def application(manager: BudgetManager, *more: Callable[[FastAPI], object]) -> FastAPI:
    app = FastAPI()
    for add in more:
        add(app)
    app.add_middleware(BudgetMiddleware, user="x-user", manager=manager, headers=True)
    app.include_router(routes)
    return app


@pytest.fixture(scope="module")
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("asgi-refusals", ledger="memory://", max_budget=100, default_user_limits="$2.5/day") as manager:
        manager.set_limits("for ever", 1)
        with manager.budget("alice"):
            spend(1)
        yield manager


@pytest.fixture(scope="module")
def serving(manager: BudgetManager) -> Iterator[Serving]:
    with Serving(application(manager)) as serving:
        yield serving


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> Any:
    """The lines that were written from WARNING on; none of any logger's may have a traceback."""
    caplog.set_level(logging.WARNING)

    def lines() -> list[str]:
        assert not [one for one in caplog.records if one.exc_info]
        return [one.getMessage() for one in caplog.records if one.name == "budgeted"]

    return lines


FORMS = ["async", "sync", "stream", "stream-async", "empty-first", "dependency", "wrapped", "group"]


@pytest.mark.parametrize("form", FORMS)
def test_a_refusal_becomes_429_with_the_time_until_it_passes(form: str, serving: Serving, told: Any) -> None:
    answer = serving.get(f"/{form}")
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert 0 < int(answer.headers["retry-after"]) <= 86_400
    body = answer.json()
    assert (body["type"], body["status"], body["account_kind"], body["limit"]) == (
        "urn:budgeted:budget-exceeded",
        429,
        "user",
        "$2.50/day",
    )
    assert body["resets_at"].endswith("+00:00")
    assert "alice" not in answer.text
    assert (answer.headers["budgeted-spent"], answer.headers["budgeted-remaining"]) == ("0", "1.5")
    [line] = told()
    assert line.startswith(
        f"budgeted: GET '/{form}' was answered with 429: there is no room for this request in $2.50/day of a user;"
    )


def test_an_exception_that_came_of_a_refusal_is_told_in_the_log(serving: Serving, told: Any) -> None:
    serving.get("/wrapped")
    [line] = told()
    assert re.search(r"; raised as OwnError at .*test_asgi_refusals.py:\d+$", line)


def test_what_never_passes_becomes_402(serving: Serving) -> None:
    for user, path in (("for ever", "/async"), ("for ever", "/stream")):
        answer = serving.get(path, user=user)
        assert (answer.status_code, "retry-after" in answer.headers) == (402, False)
        assert answer.json()["detail"].endswith("in $1 of a user, which it needs more than all of")


def test_what_somebody_has_stopped_is_told_so(told: Any) -> None:
    with BudgetManager("asgi-refusals", ledger="memory://") as manager, Serving(application(manager)) as serving:
        manager.stop("alice", "the key of alice has leaked")
        told()
        answer = serving.get("/async")
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:budgeted:stopped")
    assert answer.json()["detail"] == "a user is stopped, and nothing is spent until somebody lets it go on"
    assert "alice" not in answer.text
    assert "limit" not in answer.json()
    assert "answered with 403: a user is stopped" in told()[-1]


def test_names_are_told_as_telemetry_may_tell_them() -> None:
    with (
        BudgetManager("asgi-refusals", ledger="memory://", default_user_limits=1, metric_users=["alice"]) as manager,
        Serving(application(manager)) as serving,
    ):
        known, unknown = serving.get("/async"), serving.get("/async", user="bob")
    assert known.json()["account"] == "alice"
    assert "in $1 of user 'alice'" in known.json()["detail"]
    assert "account" not in unknown.json()
    assert "bob" not in unknown.text


def test_nothing_is_told_of_what_others_have_spent() -> None:
    with BudgetManager("asgi-refusals", ledger="memory://", max_budget="$3.21/day") as manager:
        with manager.budget("others"):
            spend(1.98765)
        with Serving(application(manager)) as serving:
            answer = serving.get("/async")
    assert (answer.json()["account"], answer.json()["account_kind"]) == ("global", "global")
    for figure in ("1.98", "1.22", "others"):
        assert figure not in answer.text
        assert figure not in str(answer.headers)


def test_the_status_of_what_passes_later_is_the_applications_to_choose(manager: BudgetManager) -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        await spend_async(TOO_MUCH)

    with Serving(BudgetMiddleware(app, user="x-user", manager=manager, status=503)) as serving:
        assert serving.get("/").status_code == 503
        assert serving.get("/", user="for ever").status_code == 402


@pytest.mark.parametrize("form", ["stream", "stream-async"])
def test_a_stream_that_is_refused_in_its_midst_ends_incomplete(form: str, serving: Serving, told: Any) -> None:
    with serving.client.stream("GET", f"/{form}?before=2", headers={"x-user": "alice"}) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx2.RemoteProtocolError, match="incomplete"):
            answer.read()
    [line] = told()
    assert "was cut short, which would have been 429" in line


def test_a_background_tasks_refusal_is_a_line_in_the_log(serving: Serving) -> None:
    root, heard = logging.getLogger(), Heard(logging.WARNING)  # the last to be told
    root.addHandler(heard)
    try:
        assert serving.get("/background").text == '"answered"'
        assert heard.event.wait(10)
    finally:
        root.removeHandler(heard)
    [line] = heard.lines
    assert "had been answered before what would have been 429" in line


class Heard(logging.Handler):
    """Keeps the lines that are written, and tells when there is one."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.event = threading.Event()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "budgeted":
            self.lines.append(record.getMessage())
            self.event.set()


def test_what_the_application_handles_is_its_own(serving: Serving, told: Any) -> None:
    assert serving.get("/handled").text == "a short answer"
    assert serving.get("/handled-by-500").text == "my own 500"
    assert told() == []


@pytest.mark.parametrize("status", [418, 500])
def test_handlers_of_the_application_win(status: int, manager: BudgetManager) -> None:
    def handler(app: FastAPI) -> None:
        app.add_exception_handler(BudgetExceededError, lambda _, __: PlainTextResponse("mine", status))

    with Serving(application(manager, handler)) as serving:
        answer = serving.get("/async")
    assert (answer.status_code, answer.text) == (status, "mine")


def test_a_bug_stays_one(manager: BudgetManager, caplog: pytest.LogCaptureFixture) -> None:
    with Serving(application(manager)) as serving:
        assert serving.get("/bug").status_code == 500
    assert [one.exc_info[0] for one in caplog.records if one.exc_info] == [ZeroDivisionError]
    caplog.clear()


def test_what_no_budget_refused_has_a_status_of_its_own(serving: Serving, told: Any) -> None:
    unpriced, away = serving.get("/unpriced"), serving.get("/no-ledger")
    assert (unpriced.status_code, away.status_code, away.headers["retry-after"]) == (500, 503, "5")
    assert "secret" not in away.text
    assert "no price is known for model 'x'" in told()[0]
    assert "/var/lib/secret" in told()[1]


def test_a_user_whom_the_manager_does_not_know_is_forbidden(told: Any) -> None:
    with (
        BudgetManager("asgi-refusals", ledger="memory://", unknown_users="deny") as manager,
        Serving(application(manager)) as serving,
    ):
        answer = serving.get("/async")
    assert answer.status_code == 403
    assert "alice" not in answer.text + told()[0]


# -- frameworks and middleware that stand between


@contextmanager
def around(app: Any, manager: BudgetManager) -> Iterator[Serving]:
    """An application that knows nothing of budgets, with the middleware around all of it."""
    with Serving(BudgetMiddleware(app, user="x-user", manager=manager)) as serving:
        yield serving


def plain(add: Callable[[FastAPI], object] = lambda app: None, **options: Any) -> FastAPI:
    app = FastAPI(**options)
    add(app)

    @app.get("/plain")
    def _() -> None:
        spend(TOO_MUCH)

    @app.get("/stream")
    def _(before: int = 0) -> StreamingResponse:
        return StreamingResponse(parts_async(before))

    return app


@pytest.mark.parametrize("debug", [False, True])
def test_the_500_of_starlette_inside_is_replaced(debug: bool, manager: BudgetManager, told: Any) -> None:
    with around(plain(debug=debug), manager) as serving:
        assert [serving.get(path).status_code for path in ("/plain", "/stream")] == [429, 429]
    assert len(told()) == 2


def test_a_handler_of_all_exceptions_does_not_handle_a_refusal(manager: BudgetManager) -> None:
    def handler(app: FastAPI) -> None:
        app.add_exception_handler(Exception, lambda _, __: PlainTextResponse("oops", 500))

    with around(plain(handler), manager) as serving:
        assert serving.get("/plain").status_code == 429


def test_base_http_middleware_inside_neither_completes_nor_hides_what_was_refused(
    manager: BudgetManager, told: Any
) -> None:
    def middleware(app: FastAPI) -> None:
        app.add_middleware(BaseHTTPMiddleware, dispatch=beside)

    with around(plain(middleware), manager) as serving:
        assert [serving.get(path).status_code for path in ("/plain", "/stream")] == [429, 429]
        with (
            serving.client.stream("GET", "/stream?before=2", headers={"x-user": "alice"}) as answer,
            pytest.raises(httpx2.RemoteProtocolError, match="incomplete"),
        ):
            answer.read()
    assert len(told()) == 3


@pytest.mark.parametrize("inside", [False, True])
def test_the_500_of_litestar_is_replaced(inside: bool, manager: BudgetManager, told: Any) -> None:
    @get("/plain", sync_to_thread=True)
    def refused() -> None:
        spend(TOO_MUCH)

    middleware = [DefineMiddleware(BudgetMiddleware, user="x-user", manager=manager)] if inside else []
    app: Any = Litestar([refused], middleware=middleware, logging_config=None)
    with Serving(app if inside else BudgetMiddleware(app, user="x-user", manager=manager)) as serving:
        assert serving.get("/plain").status_code == 429
    assert len(told()) == 1


def test_the_500_of_quart_is_replaced(manager: BudgetManager) -> None:
    app = Quart(__name__)
    app.logger.disabled = True  # it writes the traceback of each

    @app.get("/plain")
    async def _() -> None:
        await spend_async(TOO_MUCH)

    with around(app, manager) as serving:
        assert serving.get("/plain").status_code == 429


def test_an_application_that_starlette_mounts_is_not_taken_for_starlettes(manager: BudgetManager) -> None:
    async def framework(scope: object, receive: object, send: Callable[[Any], Awaitable[None]]) -> None:
        with contextlib.suppress(BudgetError):
            await spend_async(TOO_MUCH)
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"It did not work"})

    app = plain()
    app.mount("/inside", BudgetMiddleware(framework, user="x-user", manager=manager))
    with Serving(app) as serving:
        assert serving.get("/inside/").status_code == 429


def test_starlette_is_known_behind_a_function_of_the_applications(manager: BudgetManager) -> None:
    app = application(manager)

    async def around_all(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    with Serving(around_all) as serving, around(around_all, manager) as wrapped:
        assert serving.get("/handled-by-500").text == wrapped.get("/handled-by-500").text == "my own 500"


def test_a_framework_that_waits_for_its_client_to_go_is_not_waited_for(manager: BudgetManager) -> None:
    async def app(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        with contextlib.suppress(BudgetError):
            await spend_async(TOO_MUCH)
        await send({"type": "http.response.start", "status": int(scope["path"][1:]), "headers": []})
        await send({"type": "http.response.body", "body": b"mine", "more_body": True})
        await send({"type": "http.response.body"})
        while (await receive())["type"] != "http.disconnect":
            pass

    with around(app, manager) as serving:
        assert serving.get("/200").text == "mine"
        assert serving.get("/500").status_code == 429


# -- WebSockets


def address(serving: Serving, query: str = "") -> str:
    return serving.url.replace("http", "ws") + "/socket" + query


def test_a_websocket_is_closed_with_a_reason_when_it_is_refused(serving: Serving, told: Any) -> None:
    with connect(address(serving), additional_headers={"x-user": "alice"}) as socket:
        assert socket.recv(10) == "Hello!"
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    assert closed.value.rcvd.reason.startswith("No room is left in a budget")
    assert len(told()) == 1


@pytest.mark.parametrize(("query", "headers", "status"), [("?early=1", {"x-user": "alice"}, 429), ("", {}, 400)])
def test_a_websocket_that_is_refused_before_it_is_accepted_is_denied_with_a_status(
    query: str, headers: dict[str, str], status: int, serving: Serving, told: Any
) -> None:
    with pytest.raises(InvalidStatus) as denied, connect(address(serving, query), additional_headers=headers):
        pass
    assert denied.value.response.status_code == status
    assert b"urn:budgeted:" in denied.value.response.body
    assert len(told()) == 1


def test_a_server_that_takes_no_codes_but_an_applications_closes_with_one_of_these(manager: BudgetManager) -> None:
    sent: list[Any] = []

    async def app(scope: object, receive: object, send: Callable[[dict[str, str]], Awaitable[None]]) -> None:
        await send({"type": "websocket.accept"})
        await spend_async(TOO_MUCH)

    async def send(message: Any) -> None:
        if message.get("code") == 1008:
            raise ValueError("invalid close code 1008 (must be 1000 or from [3000, 4999])")  # as Daphne's
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/", "headers": [(b"x-user", b"alice")]}
    asyncio.run(BudgetMiddleware(app, user="x-user", manager=manager)(scope, receive, send))
    assert [one.get("code") for one in sent] == [None, 4008]
