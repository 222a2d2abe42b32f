"""A token or a password that is planted is found nowhere: not in what is printed, told, logged or described."""

from __future__ import annotations

import io
import logging
import socket
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Asking, Serving

from budgeted import BudgetManager, LedgerError
from budgeted.server import ServerSettings, create_app

SECRET = "planted5ecret"  # noqa: S105 - that of nobody
AWAY = [  # they are asked again and again, for some seconds
    "redis://:{}@127.0.0.1:1/0",
    "rediss://user:{}@127.0.0.1:1/0",
    "postgresql+psycopg://user:{}@127.0.0.1:1/app",
    "postgresql+psycopg://user@127.0.0.1:1/app?password={}",
    "https://{}@127.0.0.1:1",
    "http://user:{}@127.0.0.1:1",
]
MISTAKEN = [
    "mysql://user:{}@db/app",
    "redis://:{}@127.0.0.1:1/name",
    "https://host?token={}",
    "https://host#{}",
    "https://host:{}@:port",
    "Redis://:{}@host",
    "valkey://:{}@host",
    "redis:{}@host",
    " redis://:{}@host",
    "user:{}@host:6379",
    "https://{} @host",
]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that anything logs, from DEBUG on."""
    written = io.StringIO()
    handler, root = logging.StreamHandler(written), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield written
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.mark.parametrize("ledger", ["redis://:{}@host", "https://{}@host", "postgresql+psycopg://user:{}@host/app"])
def test_settings_that_are_printed_show_no_token_and_no_password(ledger: str) -> None:
    from rich.pretty import pretty_repr

    settings = ServerSettings(ledger=ledger.format(SECRET), tokens=(SECRET, f"{SECRET}2"), read_tokens=(f"{SECRET}3",))
    for text in (repr(settings), str(settings), f"{settings}", pretty_repr(settings), repr(create_app(settings))):
        assert SECRET not in text
    assert "tokens=('***', '***'), read_tokens=('***',)" in repr(settings)
    assert settings.may(SECRET) == "write"


def test_a_token_that_is_refused_is_not_quoted() -> None:
    for wrong in (f"{SECRET} x", f"{SECRET}\u00fc", f"{SECRET}\n"):
        with pytest.raises(ValueError, match="tokens must be") as caught:
            ServerSettings(tokens=(wrong,))
        assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("ledger", [*(pytest.param(url, marks=pytest.mark.slow) for url in AWAY), *MISTAKEN])
def test_no_error_of_a_ledger_shows_its_password(
    ledger: str, log: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LedgerError) as caught:
        BudgetManager("secret", max_budget=1, ledger=ledger.format(SECRET))
    error: BaseException | None = caught.value
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    while error is not None:
        assert SECRET not in f"{error!r} {error} {error.args}"
        error = error.__cause__ or error.__context__
    assert SECRET not in log.getvalue()
    assert list(tmp_path.iterdir()) == []


def test_a_server_tells_its_tokens_to_nobody_and_writes_them_nowhere(tmp_path: Path, log: io.StringIO) -> None:
    with (
        Serving(ledger=str(tmp_path), tokens=(SECRET,), read_tokens=(f"{SECRET}-r",)) as serving,
        Asking(serving.url) as ask,
    ):
        answers = [
            ask(method, path, body, token=token, headers=dict(headers))
            for token in (None, SECRET, f"{SECRET}-r", f"{SECRET}-wrong")
            for headers in ({}, {"host": "[", "idempotency-key": "k" * 300})
            for method, path, body in (
                ("GET", "/openapi.json", None),
                ("GET", "/health", None),
                ("GET", "/v1/balances", None),
                ("GET", "/nowhere", None),
                ("POST", "/v1/reset", {}),
                ("POST", "/v1/ledger/read", {"account": "nobody"}),
                ("PUT", "/v1/limits", {"limits": ["$1/fortnight"]}),
            )
        ]
        for answer in answers:
            assert SECRET not in answer.text
            assert SECRET not in str(answer.headers)
        with socket.create_connection(("127.0.0.1", serving.port), 20) as one:
            one.sendall(f"GET / HTTP/1.1\r\nAuthorization: Bearer {SECRET}\r\n\0\r\n\r\n".encode())
            assert SECRET.encode() not in one.recv(2**16)
    # What the client writes of itself is its own.
    ours = [line for line in log.getvalue().splitlines() if "send_request_headers" not in line]
    assert SECRET not in "\n".join(ours)
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()
