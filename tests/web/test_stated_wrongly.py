"""What a file or variables state of budgets may make no sense: a middleware tells at start-up, and serves nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from budgeted import configure
from budgeted.integrations import asgi, wsgi
from budgeted.integrations.asgi_types import Message
from budgeted.payers.scope import by_default


async def asgi_app(scope: object, receive: object, send: object) -> None:
    pytest.fail("it was served")


def wsgi_app(environ: object, start_response: object) -> list[bytes]:
    pytest.fail("it was served")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file of an application without a manager."""
    assert not by_default
    monkeypatch.chdir(tmp_path)
    return tmp_path / "budgeted.toml"


def test_it_is_told_at_start_up(file: Path) -> None:
    file.write_text('max_budgett = "$1/day"\n')
    with pytest.raises(ValueError, match=r"budgeted.toml, line 1, max_budgett: is not known"):
        asgi.BudgetMiddleware(asgi_app, user="x-user")
    with pytest.raises(ValueError, match=r"budgeted.toml, line 1, max_budgett: is not known"):
        wsgi.BudgetMiddleware(wsgi_app, user="x-user")
    assert not by_default


def test_what_is_seen_with_the_first_request_is_answered_with_a_line_in_the_log(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_asgi, in_wsgi = asgi.BudgetMiddleware(asgi_app, user="x-user"), wsgi.BudgetMiddleware(wsgi_app, user="x-user")
    file.write_text('max_budget = "plenty"\n')
    statuses: list[Any] = []

    async def send(message: Message) -> None:
        statuses.append(message.get("status"))

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"x-user", b"alice")]}
    asyncio.run(in_asgi(scope, receive, send))
    environ: Any = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_X_USER": "alice"}
    in_wsgi(environ, lambda status, *_: statuses.append(status))  # type: ignore[arg-type, return-value]
    assert statuses == [500, None, "500 Internal Server Error"]
    lines = [record for record in caplog.records if record.name == "budgeted"]
    assert len(lines) == 2
    for line in lines:
        assert "budgeted.toml, line 1, max_budget" in line.getMessage()
        assert line.exc_info is None


def test_what_the_application_has_configured_is_not_looked_at_again(file: Path) -> None:
    with configure(ledger="memory://"):
        file.write_text("max_budgett = 1\n")
        asgi.BudgetMiddleware(asgi_app, user="x-user")
