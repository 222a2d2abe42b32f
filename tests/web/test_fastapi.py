"""A FastAPI dependency tells who pays for the rest of its request."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Header, HTTPException, WebSocket
from fastapi.responses import StreamingResponse
from serving_apps import Serving, calls, spend, spend_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from budgeted import BudgetError
from budgeted.integrations.fastapi import answer_refusals, payer
from budgeted.manager.administrative_manager import Books
from budgeted.payers.scope import current

after_response = threading.Event()
# Not the default one of the whole process, which collects this file and runs others.
manager = Books("fastapi", ledger="memory://", max_budget=100, default_user_limits="$2.50/day")
routes = APIRouter()
User = Annotated[str, Depends(payer("x-user", manager=manager))]
TOO_MUCH = 2


def logged_in(token: Annotated[str, Header()]) -> str | None:
    """A dependency of the application's own."""
    if token == "forged":  # noqa: S105 - it is none
        raise HTTPException(401)
    return {"nobody": None, "number": 5}.get(token, token)  # type: ignore[return-value]


def later_dependency(_: User) -> Iterator[None]:
    spend()
    yield


@routes.get("/async")
async def _(user: User) -> str:
    await spend_async()
    return user


@routes.get("/sync")
def _(user: User) -> str:
    spend()
    return user


@routes.get("/later")
def _(user: User, _: Annotated[None, Depends(later_dependency)]) -> str:
    spend()
    return user


@routes.get("/stream")
def _(_: User) -> StreamingResponse:
    def parts() -> Iterator[str]:
        for _ in range(3):
            spend()
            yield "part"

    return StreamingResponse(parts())


@routes.get("/stream-async")
async def _(_: User) -> StreamingResponse:
    async def parts() -> AsyncIterator[str]:
        for _ in range(3):
            await spend_async()
            yield "part"

    return StreamingResponse(parts())


@routes.get("/background")
def _(_: User, tasks: BackgroundTasks) -> None:
    tasks.add_task(spend)
    tasks.add_task(after_response.set)


@routes.get("/refused")
def _(_: User) -> None:
    spend(TOO_MUCH)


@routes.get("/refused-stream")
def _(_: User) -> StreamingResponse:
    def parts() -> Iterator[str]:
        spend(TOO_MUCH)
        yield "never"

    return StreamingResponse(parts())


@routes.get("/handled")
def _(_: User) -> str:
    try:
        spend(TOO_MUCH)
    except BudgetError:
        return "mine"
    raise AssertionError


@routes.get("/logged-in")
def _(user: Annotated[str, Depends(payer(logged_in, manager=manager))]) -> str:
    spend()
    return user


@routes.get("/by-connection/{name}")
def _(user: Annotated[str, Depends(payer(lambda request: request.path_params["name"], manager=manager))]) -> str:
    spend()
    return user


@routes.get("/free")
def _() -> bool:
    return current() is None


@routes.websocket("/socket")
async def _(socket: WebSocket, _: User) -> None:
    await socket.accept()
    await spend_async()
    await socket.send_text("paid")
    await spend_async(TOO_MUCH)


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    app = FastAPI()
    app.include_router(routes)
    answer_refusals(app, headers=True)
    with Serving(app) as serving:
        yield serving
    manager.close()


@pytest.mark.parametrize(
    ("form", "count"), [("async", 1), ("sync", 1), ("later", 2), ("stream", 3), ("stream-async", 3)]
)
def test_the_rest_of_a_request_is_its_users(form: str, count: int, serving: Serving) -> None:
    user = f"who asks for {form}"
    answer = serving.get(f"/{form}", user=user)
    assert answer.text in (f'"{user}"', "partpartpart")
    assert calls(manager)[user] == count
    assert serving.get("/free").json() is True


def test_background_tasks_are_its_users(serving: Serving) -> None:
    after_response.clear()
    assert serving.get("/background", user="patient").status_code == 200
    assert after_response.wait(10)
    assert calls(manager)["patient"] == 1


def test_answers_tell_what_was_spent(serving: Serving) -> None:
    headers = serving.get("/sync", user="asking").headers
    assert (headers["budgeted-spent"], headers["budgeted-remaining"]) == ("0.01", "2.49")
    assert "budgeted-spent" not in serving.get("/free").headers


@pytest.mark.parametrize("path", ["/refused", "/refused-stream"])
def test_a_refusal_is_answered(path: str, serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    serving.get("/sync")
    caplog.clear()
    serving.get("/sync", user="refused")
    with manager.budget("refused"):
        spend(1)
    answer = serving.get(path, user="refused")
    assert (answer.status_code, answer.json()["account_kind"]) == (429, "user")
    assert "refused" not in answer.text
    assert not [one for one in caplog.records if one.exc_info]
    assert len([one for one in caplog.records if one.levelno >= logging.WARNING]) == 1
    manager.reset_cost("refused")


def test_what_the_application_handles_is_its_own(serving: Serving) -> None:
    manager.set_limits("poor", 1)
    assert serving.get("/handled", user="poor").json() == "mine"


@pytest.mark.parametrize(
    ("path", "headers", "status", "kind"),
    [
        ("/sync", {}, 400, "no-payer"),
        ("/sync", {"x-user": "$5"}, 400, "no-payer"),
        ("/logged-in", {"token": "nobody"}, 400, "no-payer"),
        ("/logged-in", {"token": "number"}, 500, "payer-failed"),
    ],
)
def test_a_request_without_a_user_is_refused(
    path: str, headers: dict[str, str], status: int, kind: str, serving: Serving
) -> None:
    answer = serving.client.get(path, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:budgeted:{kind}")


def test_a_dependency_of_the_applications_may_tell_who_pays(serving: Serving) -> None:
    assert serving.client.get("/logged-in", headers={"token": "dora"}).json() == "dora"
    assert serving.client.get("/logged-in", headers={"token": "forged"}).status_code == 401
    assert serving.client.get("/logged-in").status_code == 422
    assert calls(manager)["dora"] == 1


def test_a_function_of_the_connection_may_tell_who_pays(serving: Serving) -> None:
    assert serving.get("/by-connection/emil", user=None).json() == "emil"
    assert calls(manager)["emil"] == 1


def test_a_websocket_is_its_users(serving: Serving) -> None:
    url = serving.url.replace("http", "ws") + "/socket"
    manager.set_limits("talker", 1)
    with connect(url, additional_headers={"x-user": "talker"}) as socket:
        assert socket.recv(10) == "paid"
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    assert calls(manager)["talker"] == 1
    with pytest.raises(InvalidStatus), connect(url):
        pass


def test_without_an_answer_to_refusals_a_request_without_a_user_has_fastapis_own() -> None:
    app = FastAPI()
    app.include_router(routes)
    with Serving(app) as serving:
        answer = serving.get("/sync", user=None)
    assert (answer.status_code, "x-user" in answer.json()["detail"]) == (400, True)


@pytest.mark.parametrize("given", ["", "x user", 5, None])
def test_arguments_that_make_no_sense_are_told_at_once(given: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="header's name"):
        payer(given)
    with pytest.raises(ValueError, match="status"):
        answer_refusals(FastAPI(), status=200)


def test_who_calls_an_application_by_himself_has_no_payer_of_it_afterwards() -> None:
    app = FastAPI()
    app.include_router(routes)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def call() -> object:
        scope = {"type": "http", "method": "GET", "path": "/sync", "query_string": b"", "http_version": "1.1"}
        await app({**scope, "headers": [(b"x-user", b"alice")]}, receive, send)
        return current()

    assert asyncio.run(call()) is None
    assert sent[0]["status"] == 200
