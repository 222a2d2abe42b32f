"""What web requests are for is told by their middleware, in every framework, of the request or for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import django_project
import pytest
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application
from django.test import override_settings
from fastapi import Depends, FastAPI
from flask import Flask
from flask import request as flask_request
from serving_apps import Serving, Threaded, spend

from budgeted import BudgetManager
from budgeted.integrations import asgi, fastapi, flask, wsgi


def told(request: Any) -> str:
    """The path of a request, as each framework's has it."""
    if isinstance(request, dict):
        path: str = request.get("path") or request.get("PATH_INFO", "")
        return path
    return str(getattr(request, "path", None) or request.url.path)


TAGS = {"app": "shop", "path": told, "nothing": lambda _: None}


async def whole_async(request: Any) -> dict[str, str]:
    return {"app": "later", "path": told(request)}


async def path_async(request: Any) -> str:
    return told(request)


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("tags", ledger="memory://", max_budget=100) as made:
        yield made


def fastapi_app(tags: Any, manager: BudgetManager) -> Any:
    app = FastAPI()

    @app.get("/paid")
    def paid() -> str:
        spend()
        return "paid"

    return asgi.BudgetMiddleware(app, user="x-user", tags=tags, manager=manager)


def fastapi_dependency(tags: Any, manager: BudgetManager) -> Any:
    app = FastAPI()
    fastapi.answer_refusals(app)

    @app.get("/paid", dependencies=[Depends(fastapi.payer("x-user", tags=tags, manager=manager))])
    def paid() -> str:
        spend()
        return "paid"

    return app


def flask_app() -> Flask:
    app = Flask(__name__)

    @app.get("/paid")
    def paid() -> str:
        spend()
        return "paid"

    return app


def flask_middleware(tags: Any, manager: BudgetManager) -> Any:
    return wsgi.BudgetMiddleware(flask_app(), user="x-user", tags=tags, manager=manager)


def flask_extension(tags: Any, manager: BudgetManager) -> Any:
    app = flask_app()
    flask.init_app(app, user="x-user", tags=tags, manager=manager)
    return app


def django_app(make: Callable[[], Any]) -> Callable[[Any, BudgetManager], Any]:
    def made(tags: Any, manager: BudgetManager) -> Any:
        payers = {"user": "x-user", "tags": tags, "manager": manager}
        with override_settings(BUDGETED=payers, MIDDLEWARE=["budgeted.integrations.django.BudgetMiddleware"]):
            return make()

    return made


APPLICATIONS: Any = {
    "asgi": (Serving, fastapi_app),
    "fastapi": (Serving, fastapi_dependency),
    "wsgi": (Threaded, flask_middleware),
    "flask": (Threaded, flask_extension),
    "django wsgi": (Threaded, django_app(get_wsgi_application)),
    "django asgi": (Serving, django_app(get_asgi_application)),
}


@pytest.mark.parametrize("kind", APPLICATIONS)
@pytest.mark.parametrize(
    ("tags", "found"),
    [
        (TAGS, ["tag:app=shop", "tag:path=/paid"]),
        ({"app": "shop", "path": path_async}, ["tag:app=shop", "tag:path=/paid"]),
        (whole_async, ["tag:app=later", "tag:path=/paid"]),
    ],
    ids=["values and callables", "an async callable", "one async callable"],
)
def test_a_requests_calls_are_tagged(kind: str, tags: Any, found: list[str], manager: BudgetManager) -> None:
    serve, make = APPLICATIONS[kind]
    with serve(make(tags, manager)) as serving:
        assert serving.get("/paid", user="alice").status_code == 200
    assert [one.name for one in manager.accounts("tag:")] == found
    assert manager.balance("tag:" + found[0].removeprefix("tag:")).spent == manager.balance("alice").spent > 0


@pytest.mark.parametrize("kind", APPLICATIONS)
def test_tags_that_cannot_be_told_are_the_applications_mistake(
    kind: str, manager: BudgetManager, caplog: pytest.LogCaptureFixture
) -> None:
    serve, make = APPLICATIONS[kind]
    with serve(make({"session": lambda _: 1.5}, manager)) as serving:
        assert serving.get("/paid", user="alice").status_code == 500
    assert manager.balance().spent == 0
    assert "tags=" in caplog.text


def test_more_tags_than_a_call_may_have_are_the_applications_mistake(
    manager: BudgetManager, caplog: pytest.LogCaptureFixture
) -> None:
    manager.reconfigure(tags={f"n{number}": 1 for number in range(16)})
    with Serving(fastapi_app({"one": "more"}, manager)) as serving:
        assert serving.get("/paid", user="alice").status_code == 500
    assert "more than 16 tags" in caplog.text


def test_flasks_callables_are_asked_in_the_context_of_the_request(manager: BudgetManager) -> None:
    app = flask_app()
    flask.init_app(app, user="x-user", tags=lambda _: {"path": flask_request.path}, manager=manager)
    with Threaded(app) as serving:
        serving.get("/paid", user="alice")
    assert [one.name for one in manager.accounts("tag:")] == ["tag:path=/paid"]


def test_djangos_setting_may_name_a_callable_by_its_path(manager: BudgetManager) -> None:
    with Threaded(django_app(get_wsgi_application)("test_request_tags.whole_async", manager)) as serving:
        serving.get("/paid", user="alice")
    assert [one.name for one in manager.accounts("tag:")] == ["tag:app=later", "tag:path=/paid"]
    with pytest.raises(ImproperlyConfigured, match=r"BUDGETED makes no sense: .*no_such"):
        django_app(get_wsgi_application)("test_request_tags.no_such", manager)


assert django_project  # which configures Django
