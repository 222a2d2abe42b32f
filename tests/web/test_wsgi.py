"""Under the WSGI middleware a request's calls are its user's, streamed ones too, and refusals become answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.validate import validator

import httpx2
import pytest
from flask import Flask
from serving_apps import Threaded, calls, spend

from budgeted import BudgetError, BudgetManager
from budgeted.integrations.wsgi import BudgetMiddleware
from budgeted.payers.scope import current

TOO_MUCH = 2
TEXT = (("Content-Type", "text/plain"),)


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("wsgi", ledger="memory://", max_budget=100, default_user_limits="$2.50/day") as manager:
        with manager.budget("alice"):
            spend(1)
        yield manager


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> Any:
    """The lines that were written from WARNING on; none of any logger's may have a traceback."""
    caplog.set_level(logging.WARNING)

    def lines() -> list[str]:
        assert not [one for one in caplog.records if one.exc_info]
        return [one.getMessage() for one in caplog.records if one.name == "budgeted"]

    return lines


def listed(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    spend()
    start_response("200 OK", [*TEXT])
    return [b"whole"]


def streamed(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT])

    def parts() -> Iterator[bytes]:
        for _ in range(2):
            spend()
            yield b"part "

    return parts()


def generated(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    spend()
    start_response("200 OK", [*TEXT])
    yield b""
    spend()
    yield b"part"


def written(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", [*TEXT])
    spend()
    write(b"written")
    return []


def empty(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    spend()
    start_response("200 OK", [*TEXT])
    yield from ()


class Closing:
    """A body that pays for its end."""

    def __init__(self, environ: WSGIEnvironment, start_response: StartResponse) -> None:
        start_response("200 OK", [*TEXT])

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"part"])

    def close(self) -> None:
        spend()


@pytest.mark.parametrize(
    ("app", "count", "text"),
    [
        (listed, 1, "whole"),
        (streamed, 2, "part part "),
        (generated, 2, "part"),
        (written, 1, "written"),
        (empty, 1, ""),
        (Closing, 1, "part"),
    ],
)
def test_a_requests_calls_are_its_users(app: Any, count: int, text: str, manager: BudgetManager) -> None:
    with Threaded(BudgetMiddleware(app, user="x-user", manager=manager)) as serving:
        answer = serving.get("/", user="bob")
    assert (answer.status_code, answer.text) == (200, text)
    assert calls(manager)["bob"] == count
    assert current() is None


def test_what_is_passed_on_is_wsgi_as_the_standard_has_it(manager: BudgetManager) -> None:
    inside: Any = validator(streamed)
    with Threaded(validator(BudgetMiddleware(inside, user="x-user", manager=manager))) as serving:
        assert serving.get("/", user="bob").text == "part part "


def test_steps_that_run_in_changing_threads_are_the_users(manager: BudgetManager) -> None:
    environ = {"HTTP_X_USER": "bob", "REQUEST_METHOD": "GET", "PATH_INFO": "/"}
    started: list[str] = []
    body = iter(
        BudgetMiddleware(streamed, user="x-user", manager=manager)(environ, lambda *told: started.append(told[0]))
    )
    for _ in range(2):
        thread = threading.Thread(target=next, args=(body,))
        thread.start()
        thread.join()
        assert current() is None
    assert calls(manager)["bob"] == 2


def refusing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    spend(TOO_MUCH)
    return []


def refusing_late(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [*TEXT])
    yield b""
    spend(TOO_MUCH)


def refusing_in_a_framework(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """As frameworks do that answer an exception themselves."""
    try:
        spend(TOO_MUCH)
    except BudgetError:
        status = "500 Internal Server Error"
    start_response(status, [*TEXT])
    return [b"It did not work"]


def refusing_in_a_debugger(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    """As Werkzeug's does."""
    try:
        spend(TOO_MUCH)
    except BudgetError:
        start_response("500 Internal Server Error", [*TEXT])
        yield b"Traceback"


@pytest.mark.parametrize("app", [refusing, refusing_late, refusing_in_a_framework, refusing_in_a_debugger])
def test_a_refusal_becomes_429_with_the_time_until_it_passes(app: Any, manager: BudgetManager, told: Any) -> None:
    with Threaded(BudgetMiddleware(app, user="x-user", manager=manager, headers=True)) as serving:
        answer = serving.get("/path")
        head = serving.client.head("/path", headers={"x-user": "alice"})
    assert (answer.status_code, head.status_code, head.text) == (429, 429, "")
    assert answer.headers["content-type"] == "application/problem+json"
    assert 0 < int(answer.headers["retry-after"]) <= 86_400
    assert (answer.json()["account_kind"], answer.json()["limit"]) == ("user", "$2.50/day")
    assert "alice" not in answer.text
    assert (answer.headers["budgeted-spent"], answer.headers["budgeted-remaining"]) == ("0", "1.5")
    assert told()[0].startswith(
        "budgeted: GET '/path' was answered with 429: there is no room for this request in $2.50"
    )
    assert len(told()) == 2


def test_a_stream_that_is_refused_in_its_midst_ends_incomplete(manager: BudgetManager, told: Any) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [*TEXT, ("Content-Length", "100")])
        yield b"part"
        spend(TOO_MUCH)

    with (
        Threaded(BudgetMiddleware(app, user="x-user", manager=manager)) as serving,
        serving.client.stream("GET", "/", headers={"x-user": "alice"}) as answer,
        pytest.raises(httpx2.RemoteProtocolError),
    ):
        assert answer.status_code == 200
        answer.read()
    [line] = told()
    assert "was cut short, which would have been 429" in line


def test_what_the_application_handles_is_its_own(manager: BudgetManager, told: Any) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            spend(TOO_MUCH)
        except BudgetError:
            start_response("503 Later", [*TEXT])
        return [b"mine"]

    with Threaded(BudgetMiddleware(app, user="x-user", manager=manager)) as serving:
        assert (serving.get("/").status_code, serving.get("/").text) == (503, "mine")
    assert told() == []


def test_a_bug_stays_one(manager: BudgetManager) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        raise ZeroDivisionError

    environ: dict[str, object] = {"HTTP_X_USER": "bob"}
    with pytest.raises(ZeroDivisionError):
        BudgetMiddleware(app, user="x-user", manager=manager)(environ, lambda *_: lambda _: None)
    assert current() is None


def test_a_callable_tells_who_pays_at_once_or_later(manager: BudgetManager) -> None:
    async def later(environ: WSGIEnvironment) -> str:
        return str(environ["PATH_INFO"])

    users: list[Callable[[WSGIEnvironment], object]] = [later, lambda environ: environ["PATH_INFO"]]
    for user in users:
        with Threaded(BudgetMiddleware(listed, user=user, manager=manager)) as serving:
            assert serving.get("/by-path", user=None).status_code == 200
    assert calls(manager)["/by-path"] == 2


def test_a_flask_application_without_more_is_answered_for(manager: BudgetManager) -> None:
    app = Flask(__name__)
    app.logger.disabled = True  # it writes the traceback of each

    @app.get("/")
    def _() -> str:
        spend(TOO_MUCH)
        return ""

    app.wsgi_app = BudgetMiddleware(app.wsgi_app, user="x-user", manager=manager)  # type: ignore[method-assign]
    with Threaded(app) as serving:
        assert serving.get("/").status_code == 429
