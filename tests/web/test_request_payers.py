"""Who pays for a request is told by a header or a callable: a request of which neither tells is not served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from budgeted import BudgetManager, UnknownUserError
from budgeted.integrations import asgi, wsgi

Headers = list[tuple[bytes, bytes]]
Served = tuple[int, dict[str, Any], bool]


@pytest.fixture(scope="module")
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("request-payers", ledger="memory://") as manager:
        yield manager


def by_asgi(manager: BudgetManager, user: Any, headers: Headers) -> Served:
    sent: list[dict[str, Any]] = []
    served = []

    async def app(scope: object, receive: object, send: Callable[[dict[str, Any]], Any]) -> None:
        served.append(True)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    asyncio.run(asgi.BudgetMiddleware(app, user=user, manager=manager)(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"]), bool(served)


def by_wsgi(manager: BudgetManager, user: Any, headers: Headers) -> Served:
    found: list[str] = []
    served = []

    def app(environ: object, start_response: Any) -> list[bytes]:
        served.append(True)
        start_response("200 OK", [])
        return [b"{}"]

    environ: dict[str, Any] = {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}
    for name, value in headers:
        key = "HTTP_" + name.decode().upper().replace("-", "_")
        environ[key] = value.decode("latin-1")

    def start_response(status: str, *_: object) -> Callable[[bytes], None]:
        found.append(status)
        return lambda _: None

    body = b"".join(wsgi.BudgetMiddleware(app, user=user, manager=manager)(environ, start_response))
    return int(found[0][:3]), json.loads(body), bool(served)


@pytest.fixture(params=[by_asgi, by_wsgi])
def ask(request: pytest.FixtureRequest, manager: BudgetManager) -> Callable[[Any, Headers], Served]:
    return lambda user, headers: request.param(manager, user, headers)


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b" ", b"\t", b"a\x00b", b"a\nb", b"a\x1b[31m", b"a\x7f", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80"),
        *("a\u2028b".encode(), b"a" * 257, "ü".encode() * 129, b"$5", b"$0.50/day"),
    ],
)
def test_a_header_that_holds_no_name_is_refused(value: bytes, ask: Any, caplog: pytest.LogCaptureFixture) -> None:
    status, problem, served = ask("x-user", [(b"x-user", value)])
    assert (status, problem["type"], served) == (400, "urn:budgeted:no-payer", False)
    assert "'x-user'" in problem["detail"]
    assert len([one for one in caplog.records if one.levelname == "WARNING"]) == 1


def test_a_header_that_is_missing_is_refused(ask: Any) -> None:
    status, problem, served = ask("X-User", [(b"x-other", b"alice")])
    assert (status, served) == (400, False)
    assert problem["detail"] == "the header 'x-user', which says who pays, is missing; send one"


def test_two_headers_of_the_name_are_refused(manager: BudgetManager) -> None:
    status, problem, served = by_asgi(manager, "x-user", [(b"x-user", b"alice"), (b"X-User", b"bob")])
    assert (status, served) == (400, False)
    assert "is there 2 times" in problem["detail"]


@pytest.mark.parametrize("name", [b"alice", "zoë".encode(), b"CN=alice, O=x", b" team:search ", b"a" * 256])
def test_a_name_is_served(name: bytes, ask: Any) -> None:
    assert ask("x-user", [(b"x-user", name)]) == (200, {}, True)


@pytest.mark.parametrize("told", [5, 5.0, True, b"alice", ["alice"], "", "a\nb", "a" * 257, "$5", object()])
def test_a_callable_that_returns_no_name_fails_and_nothing_is_served(
    told: object, ask: Any, caplog: pytest.LogCaptureFixture
) -> None:
    status, problem, served = ask(lambda _: told, [])
    assert (status, problem["type"], served) == (500, "urn:budgeted:payer-failed", False)
    [line] = [one for one in caplog.records if one.levelname == "ERROR"]
    assert "returned no name" in line.getMessage()
    assert line.exc_info is None


async def raising_later(_: object) -> str:
    raise KeyError("session")


def raising(_: object) -> str:
    raise KeyError("session")


@pytest.mark.parametrize("user", [raising, raising_later])
def test_a_callable_that_raises_fails_and_nothing_is_served(
    user: Any, ask: Any, caplog: pytest.LogCaptureFixture
) -> None:
    status, problem, served = ask(user, [])
    assert (status, problem["type"], served) == (500, "urn:budgeted:payer-failed", False)
    assert "session" not in json.dumps(problem)
    [line] = [one for one in caplog.records if one.levelname == "ERROR"]
    assert "raised KeyError: \"'session'\"" in line.getMessage()


def test_a_callable_that_returns_none_leaves_nobody_to_pay(ask: Any) -> None:
    status, problem, served = ask(lambda _: None, [])
    assert (status, problem["type"], served) == (400, "urn:budgeted:no-payer", False)


def test_a_callable_may_refuse_a_user(ask: Any) -> None:
    def known(_: object) -> str:
        raise UnknownUserError("user 'mallory' is not known")

    status, problem, served = ask(known, [])
    assert (status, problem["type"], served) == (403, "urn:budgeted:unknown-user", False)
    assert "mallory" not in json.dumps(problem)


# -- the arguments of the middleware


async def asgi_app(scope: object, receive: object, send: object) -> None: ...


def wsgi_app(environ: object, start_response: object) -> list[bytes]:
    return []


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"user": ""}, ValueError, "user='' is no header's name"),
        ({"user": "x user"}, ValueError, "user='x user' is no header's name"),
        ({"user": "x-user:"}, ValueError, "is no header's name"),
        ({"user": "$5"}, ValueError, "user='\\$5' is no header's name"),
        ({"user": "Authorization"}, ValueError, "user='Authorization' would keep secrets as users' names"),
        ({"user": None}, TypeError, "must be a header's name, such as 'x-user', or a callable .* got None"),
        ({"user": 5}, TypeError, "got 5"),
        ({"user": b"x-user"}, TypeError, "got b'x-user'"),
        ({"user": "x-user", "cap": "plenty"}, ValueError, "plenty"),
        ({"user": "x-user", "cap": -1}, ValueError, "-1"),
        ({"user": "x-user", "manager": "web"}, TypeError, "manager must be a BudgetManager.* got 'web'"),
        ({"user": "x-user", "status": "429"}, TypeError, "status must be a number.* got '429'"),
        ({"user": "x-user", "status": True}, TypeError, "status must be a number"),
        ({"user": "x-user", "status": 200}, ValueError, "status must be from 400 to 599.* got 200"),
        ({"user": "x-user", "headers": "yes"}, TypeError, "headers must be True or False, got 'yes'"),
        ({"user": "x-user", "max_usd": 5}, TypeError, "unknown keyword 'max_usd'; here it is called 'cap'"),
        ({"user": "x-user", "colour": {}}, TypeError, "unknown keyword 'colour'; there are app, cap, headers"),
        ({"user": "x-user", "labels": {}}, TypeError, "unknown keyword 'labels'; here it is called 'tags'"),
        ({"user": "x-user", "tags": "feature"}, TypeError, "tags must be a mapping such as .* got 'feature'"),
        ({"user": "x-user", "tags": {"a b": len}}, ValueError, "'a b' is no name of a tag"),
        ({}, TypeError, "user"),
    ],
)
def test_arguments_that_make_no_sense_are_told_at_once(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        asgi.BudgetMiddleware(asgi_app, **arguments)
    with pytest.raises(error, match=text):
        wsgi.BudgetMiddleware(wsgi_app, **arguments)


def test_an_application_of_the_other_kind_is_told() -> None:
    with pytest.raises(TypeError, match=r"no ASGI application; for it use budgeted.integrations.wsgi"):
        asgi.BudgetMiddleware(wsgi_app, user="x-user")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"no WSGI application; for it use budgeted.integrations.asgi"):
        wsgi.BudgetMiddleware(asgi_app, user="x-user")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="goes around a WSGI application, got 'x-user'"):
        wsgi.BudgetMiddleware("x-user", user="x-user")  # type: ignore[arg-type]


def test_what_is_no_request_is_passed_on() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: object, send: object) -> None:
        seen.append(scope["type"])

    asyncio.run(asgi.BudgetMiddleware(app, user="x-user")({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == ["lifespan"]
