"""What a gateway does not send on: what leads nowhere, may be read in two ways, or cannot be bounded."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from gateways import gateway, upstreams_of

from budgeted import BudgetManager
from budgeted.gateway.settings import GatewaySettings
from budgeted.testing import SimulatedProvider, unmetered

ASKED: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(autouse=True)
def nothing_sent(provider: SimulatedProvider) -> Iterator[None]:
    provider.reset()
    with unmetered():
        yield
    assert not provider.requests


def ask(url: str, method: str, target: str, body: object = ASKED, **headers: str) -> tuple[int, str]:
    """An answer's status and text, to a target that is sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", httpx2.URL(url).port)
    connection.putrequest(method, target)
    encoded = json.dumps(body).encode()
    for name, value in {"content-type": "application/json", "content-length": str(len(encoded)), **headers}.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders(encoded)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


@pytest.mark.parametrize(
    "target",
    [
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/./chat/completions",
        "/v1/models/../chat/completions",
        "/v1/models/%2e%2e/chat/completions",
        "/v1/models/%2E./chat/completions",
        "/v1/models/..%2fchat%2fcompletions",
        "/v1/models/x%5c..%5cchat/completions",
        "/v1/%63hat/completions",
        "/v1/chat%00/completions",
        "/v1/chat%252fcompletions",
        "/v1/chat\\completions",
        "/openai/../v1/messages",
        "/v1/chat/completions;x=%0d%0a",
    ],
)
def test_a_path_that_may_be_read_in_two_ways_is_refused(url: str, target: str) -> None:
    status, text = ask(url, "POST", target)
    assert status == 400
    assert "is not written as paths are" in text


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/", 404),
        ("http://api.openai.com/v1/models", 403),
        ("/nowhere", 404),
        ("/openrouter2/chat/completions", 404),
        ("/v1/unheard-of", 400),
        ("/v1/Chat/Completions", 400),
        ("/v1/batches", 400),
        ("/v1/fine_tuning/jobs", 400),
        ("/v1/messages/batches", 400),
        ("/v1beta/models/gemini-2.5-flash:unheardOf", 400),
    ],
)
def test_what_nobody_can_bound_is_refused_in_the_words_of_its_api(url: str, target: str, status: int) -> None:
    got, text = ask(url, "POST", target)
    assert got == status, text
    assert "error" in json.loads(text)


def test_what_cannot_be_read_is_refused(url: str) -> None:
    for body in ("text", 7, ["list"], {}, {"model": 7, "messages": []}):
        status, text = ask(url, "POST", "/v1/chat/completions", body)
        assert status == 400, text
        assert "nothing was sent" in text
    status, text = ask(url, "POST", "/v1/chat/completions", content_encoding="gzip")
    assert status == 400
    assert "nothing was sent" in text


def test_two_headers_of_which_one_decides_are_refused(url: str) -> None:
    status, text = ask(url, "POST", "/v1/chat/completions", **{"Content-Type": "multipart/form-data; boundary=x"})
    assert status == 400
    assert "content-type is there 2 times" in text


def test_a_method_that_means_another_is_refused(url: str) -> None:
    assert ask(url, "TRACE", "/v1/models")[0] == 405
    assert ask(url, "GET", "/v1beta/models/x", x_http_method_override="POST")[0] == 400


def test_a_websocket_is_refused_as_its_clients_fall_back_for(url: str) -> None:
    status, text = ask(url, "GET", "/v1/responses", upgrade="websocket", connection="Upgrade")
    assert status == 426
    assert "WebSocket" in text


def test_a_key_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    status, text = ask(url, "POST", "/v1beta/models/gemini-2.5-flash:generateContent?key=AIzaSecret")
    assert status == 400
    assert "AIzaSecret" not in text


def test_a_body_that_is_too_long_is_refused(manager: BudgetManager, provider: SimulatedProvider) -> None:
    settings = GatewaySettings(upstreams=upstreams_of(provider), open=True, max_body=1000)
    with gateway(manager, settings) as url:
        status, text = ask(url, "POST", "/v1/messages", {**ASKED, "system": "x" * 1000})
    assert status == 413
    assert json.loads(text)["error"]["type"] == "request_too_large"


def test_what_the_owner_keeps_at_a_provider_is_not_shown_to_those_who_have_the_gateways_keys(
    manager: BudgetManager, provider: SimulatedProvider
) -> None:
    settings = GatewaySettings(upstreams=upstreams_of(provider), open=True)
    with gateway(manager, settings, environment={"OPENAI_API_KEY": "sk-owner"}) as url:
        for method, target in (("GET", "/v1/files"), ("DELETE", "/v1/files/file-1"), ("POST", "/v1/files")):
            status, text = ask(url, method, target)
            assert status == 403, target
            assert 'free = \\"all\\"' in text
