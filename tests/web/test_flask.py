"""A Flask application that one line has given a payer: its calls, its refusals, its own handlers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Response, g, stream_with_context
from serving_apps import Threaded, calls, spend

from budgeted import BudgetError, BudgetExceededError, BudgetManager
from budgeted.integrations.flask import init_app

TOO_MUCH = 2


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("flask", ledger="memory://", max_budget=100, default_user_limits="$1.50/day") as manager:
        with manager.budget("alice"):
            spend(1)
        yield manager


def application() -> Flask:
    app = Flask(__name__)

    @app.get("/paid")
    def paid() -> str:
        spend()
        return "paid"

    @app.get("/stream")
    def stream() -> Response:
        def parts() -> Iterator[str]:
            for _ in range(2):
                spend()
                yield "part "

        return Response(stream_with_context(parts()))

    @app.get("/refused")
    def refused() -> str:
        spend(TOO_MUCH)
        return ""

    @app.get("/refused-stream")
    def refused_stream() -> Response:
        def parts() -> Iterator[str]:
            spend(TOO_MUCH)
            yield ""

        return Response(parts())

    @app.get("/wrapped")
    def wrapped() -> str:
        try:
            spend(TOO_MUCH)
        except BudgetError as error:
            raise ValueError from error
        return ""

    @app.get("/own-500")
    def own_500() -> tuple[str, int]:
        try:
            spend(TOO_MUCH)
        except BudgetError:
            return "mine", 500
        raise AssertionError

    return app


def test_a_requests_calls_are_its_users(manager: BudgetManager) -> None:
    app = application()
    init_app(app, user="x-user", manager=manager)
    with Threaded(app) as serving:
        assert serving.get("/paid", user="bob").text == "paid"
        assert serving.get("/stream", user="bob").text == "part part "
        assert serving.get("/paid", user=None).status_code == 400
    assert calls(manager) == {"alice": 1, "bob": 3}


@pytest.mark.parametrize("testing", [False, True])
@pytest.mark.parametrize("path", ["/refused", "/refused-stream", "/wrapped"])
def test_a_refusal_is_answered_without_a_traceback(
    path: str, testing: bool, manager: BudgetManager, caplog: pytest.LogCaptureFixture
) -> None:
    app = application()
    app.testing = testing  # then Flask raises what it would answer with a 500
    init_app(app, user="x-user", manager=manager, headers=True)
    with Threaded(app) as serving:
        answer = serving.get(path)
    assert (answer.status_code, answer.json()["limit"]) == (402, "$1.50/day")  # which is less than what is asked for
    assert answer.headers["budgeted-remaining"] == "0.5"
    [line] = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert line.getMessage().startswith(f"budgeted: GET '{path}' was answered with 402")
    assert line.exc_info is None


def test_what_the_application_handles_is_its_own(manager: BudgetManager) -> None:
    app = application()
    init_app(app, user="x-user", manager=manager)

    @app.errorhandler(BudgetExceededError)
    def _(error: BudgetExceededError) -> tuple[str, int]:
        return f"{error.account} has too little", 500

    with Threaded(app) as serving:
        assert serving.get("/refused").text == "alice has too little"
        assert serving.get("/own-500").text == "mine"


def test_what_runs_after_a_request_sees_the_answer(manager: BudgetManager) -> None:
    app = application()
    init_app(app, user="x-user", manager=manager)

    @app.after_request
    def _(response: Response) -> Response:
        response.headers["x-seen"] = str(response.status_code)
        return response

    with Threaded(app) as serving:
        assert serving.get("/refused").headers["x-seen"] == "402"


def test_a_callable_is_asked_in_the_requests_context(manager: BudgetManager) -> None:
    def user(request: Any) -> str:
        g.asked = True
        return str(request.args["who"])

    async def later(request: Any) -> str:
        await asyncio.sleep(0)
        return str(request.args["who"])

    for asked in (user, later):
        app = application()
        init_app(app, user=asked, manager=manager)
        with Threaded(app) as serving:
            assert serving.get("/paid?who=carol", user=None).status_code == 200
    assert calls(manager)["carol"] == 2


def test_a_bug_stays_one(manager: BudgetManager, caplog: pytest.LogCaptureFixture) -> None:
    app = application()
    init_app(app, user="x-user", manager=manager)

    @app.get("/bug")
    def bug() -> str:
        raise ZeroDivisionError

    with Threaded(app) as serving:
        assert serving.get("/bug").status_code == 500
    assert [one.exc_info[0] for one in caplog.records if one.exc_info] == [ZeroDivisionError]


def test_what_is_no_application_is_told() -> None:
    with pytest.raises(TypeError, match="init_app takes a Flask application, got <function"):
        init_app(application, user="x-user")  # type: ignore[arg-type]
