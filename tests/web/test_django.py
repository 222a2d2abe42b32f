"""Django's requests are paid by their users, under WSGI and ASGI, streamed or not, and refusals are answered."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import django_project
import httpx2
import pytest
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application
from django.test import override_settings
from serving_apps import Serving, Threaded, calls, spend

from budgeted.payers.scope import current

manager = django_project.manager
INTERFACES: Any = [(Threaded, get_wsgi_application), (Serving, get_asgi_application)]
OURS = "budgeted.integrations.django.BudgetMiddleware"


@pytest.fixture(scope="module", autouse=True)
def spent() -> Iterator[None]:
    with manager.budget("alice"):
        spend(1)
    yield
    manager.close()


@pytest.fixture(scope="module", params=["wsgi", "asgi", "asgi around a synchronous middleware"])
def serving(request: pytest.FixtureRequest) -> Iterator[Any]:
    server, application = INTERFACES[request.param != "wsgi"]
    inside = "raising_sync" if "synchronous" in request.param else "raising"
    with override_settings(MIDDLEWARE=[OURS, f"django_project.{inside}"]):
        made = application()
    with server(made) as serving:
        serving.name = request.param
        yield serving


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
@pytest.mark.parametrize(("form", "count"), [("paid", 1), ("paid-async", 1), ("stream", 3), ("stream-async", 3)])
def test_a_requests_calls_are_its_users(form: str, count: int, serving: Any) -> None:
    user = f"{serving.name} {form}"
    answer = serving.get(f"/{form}", user=user)
    assert (answer.status_code, answer.text) == (200, "paid" if count == 1 else "part part part ")
    assert calls(manager)[user] == count
    assert float(answer.headers["budgeted-spent"]) > 0
    assert current() is None


@pytest.mark.parametrize("form", ["refused", "refused-async", "stream?usd=2", "stream-async?usd=2", "middleware"])
def test_a_refusal_is_answered_without_a_traceback(form: str, serving: Any, caplog: pytest.LogCaptureFixture) -> None:
    answer = serving.get(f"/{form}")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 86_400
    assert answer.headers["content-type"] == "application/problem+json"
    assert "alice" not in answer.text
    lines = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert [one.getMessage()[:9] for one in lines] == ["budgeted:"]
    assert not [one for one in caplog.records if one.exc_info]


@pytest.mark.parametrize("form", ["stream", "stream-async"])
@pytest.mark.parametrize("inside", ["raising", "raising_sync"])
def test_a_stream_that_is_refused_in_its_midst_ends_incomplete(
    form: str, inside: str, caplog: pytest.LogCaptureFixture
) -> None:
    with override_settings(MIDDLEWARE=[OURS, f"django_project.{inside}"]):
        application = get_asgi_application()
    with (
        Serving(application) as serving,
        serving.client.stream("GET", f"/{form}?usd=0.9", headers={"x-user": f"{inside} {form}"}) as answer,
    ):
        assert answer.status_code == 200
        with pytest.raises(httpx2.RemoteProtocolError, match="incomplete"):
            answer.read()
    assert not [one for one in caplog.records if one.exc_info]
    [line] = [one.getMessage() for one in caplog.records if "GET" in one.getMessage() and one.name == "budgeted"]
    assert "was cut short, which would have been 429" in line


def test_what_the_application_handles_is_its_own(serving: Any) -> None:
    assert (serving.get("/handled").status_code, serving.get("/handled").text) == (500, "mine")


def test_a_request_without_a_user_is_refused(serving: Any) -> None:
    answer = serving.get("/paid", user=None)
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:budgeted:no-payer")


def test_a_bug_stays_one(serving: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert serving.get("/bug").status_code == 500
    assert [one.exc_info[0] for one in caplog.records if one.exc_info] == [ZeroDivisionError]


@pytest.mark.parametrize("interface", INTERFACES, ids=["wsgi", "asgi"])
@pytest.mark.parametrize("user", ["django_project.by_path", django_project.by_path_later])
def test_a_callable_tells_who_pays(user: Any, interface: Any) -> None:
    server, application = interface
    before = calls(manager).get("/paid", 0)
    with override_settings(BUDGETED={"user": user, "manager": manager}), server(application()) as serving:
        assert serving.get("/paid", user=None).status_code == 200
    assert calls(manager)["/paid"] == before + 1


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (None, r"must say who pays, as in BUDGETED = \{'user': 'x-user'\}; got None"),
        ({"cap": 1}, "must say who pays"),
        ({"user": 5}, "must be a header's name"),
        ({"user": "nowhere.user_of"}, "nowhere"),
        ({"user": "x-user", "max_usd": 1}, "here it is called 'cap'"),
        ({"user": "x-user", "status": 200}, "status must be from 400 to 599"),
    ],
)
def test_settings_that_make_no_sense_are_told_at_once(given: Any, text: str) -> None:
    with override_settings(BUDGETED=given), pytest.raises(ImproperlyConfigured, match=text):
        get_wsgi_application()
