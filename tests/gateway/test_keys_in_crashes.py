"""Keys that are planted, of a provider and of the gateway, are found nowhere: not in answers, logs, errors or files."""

from __future__ import annotations

import io
import json
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from gateways import gateway
from key_requests import ENVIRONMENT, SECRET, books_of, key_for
from upstream_of_bytes import Answering, UpstreamOfBytes

from budgeted import BudgetManager
from budgeted.gateway.key_books import KeyBooks
from budgeted.gateway.key_callers import KeyCallers
from budgeted.gateway.settings import GatewaySettings
from budgeted.gateway.upstream_requests import Outgoing
from budgeted.testing import unmetered

OWN = "sk-" + "planted-of-the-gateway"
THEIRS = "sk-" + "planted-of-the-caller"
ASKED: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10}
ANSWER = b'{"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}}'
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)
ANSWERS: dict[str, Answering] = {
    "an answer": OK,
    "nothing": b"",
    "garbage": b"garbage",
    "a redirect": b"HTTP/1.1 307 There\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
}


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


def everything_asked(client: httpx2.Client, key: str) -> Iterator[httpx2.Response | Exception]:
    """What is answered to requests of all kinds, with a key in every place where one may be."""
    shown: list[dict[str, str]] = [
        {"authorization": f"Bearer {key}"},
        {"x-api-key": key},
        {"x-budgeted-key": key, "authorization": f"Bearer {THEIRS}"},
        {"authorization": f"Bearer {THEIRS}"},
        {"authorization": f"Bearer {key}x"},
        {"authorization": f"Bearer {key}", "x-api-key": f"{key}x"},
        {"x-budgeted-user": key, "x-budgeted-tags": f"{key}={key}", "session-id": key},
    ]
    targets = ["/v1/chat/completions", "/v1/messages", "/v1/models", "/budget", "/health", "/metrics", "/nowhere"]
    targets += [
        f"/v1/models?key={key}",
        f"/{key}/v1/models",
        f"/v1/models/{key}%2f..",
        f"/v1/chat/completions?a={THEIRS}",
    ]
    for headers in shown:
        for target in targets:
            for method, body in (("GET", None), ("POST", json.dumps(ASKED)), ("POST", "{")):
                try:
                    yield client.request(method, target, content=body, headers=headers)
                except httpx2.HTTPError as error:
                    yield error


@pytest.mark.parametrize("answer", ANSWERS)
def test_keys_are_told_to_nobody_and_written_nowhere(tmp_path: Path, log: io.StringIO, answer: str) -> None:
    environment = {**ENVIRONMENT, "OPENAI_API_KEY": OWN, "ANTHROPIC_API_KEY": OWN}
    with (
        UpstreamOfBytes() as upstream,
        BudgetManager("secrets", ledger=str(tmp_path), max_budget="$1000", wait=0) as manager,
        unmetered(),
    ):
        upstream.answer = ANSWERS[answer]
        key, info = key_for(manager, "alice")
        settings = GatewaySettings(upstreams=dict.fromkeys(("openai", "anthropic"), upstream.url), silence_seconds=5)
        callers = KeyCallers(manager, environment)
        with (
            gateway(manager, settings, callers, environment) as url,
            httpx2.Client(base_url=url, timeout=20) as client,
        ):
            answers = list(everything_asked(client, key))
            KeyBooks(books_of(manager)).revoke(info.id, "leaked")
            answers += everything_asked(client, key)
    kept = key.rpartition("-")[2] if "-" in key[3:] else key[20:]
    for got in answers:
        text = f"{got.status_code} {got.headers} {got.text}" if isinstance(got, httpx2.Response) else repr(got)
        for secret in (OWN, SECRET, THEIRS, kept):
            assert secret not in text, text
    # What the client writes of itself is its own.
    ours = "\n".join(
        line for line in log.getvalue().splitlines() if "send_request" not in line and "HTTP Request" not in line
    )
    for secret in (OWN, SECRET, THEIRS, kept):
        assert secret not in ours
    for path in tmp_path.rglob("*"):
        for secret in (OWN, SECRET, THEIRS, kept):
            assert path.is_dir() or secret.encode() not in path.read_bytes(), path
    sent = b"".join(upstream.requests)
    assert sent.count(OWN.encode()) > 0
    assert key.encode() not in sent
    assert SECRET.encode() not in sent


def test_a_request_that_is_shown_in_a_crash_shows_no_key() -> None:
    out = Outgoing("POST", "http://127.0.0.1:1", "/v1", "", [("authorization", f"Bearer {OWN}")], b'{"secret": 1}')
    error = ValueError(out)
    assert OWN not in "".join(traceback.format_exception(error))
    assert "/v1" in repr(out)
