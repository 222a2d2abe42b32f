"""What becomes of a call through a gateway whose answer is cut short, on either side."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from gateways import gateway, upstreams_of

from budgeted import BudgetManager
from budgeted.gateway.settings import GatewaySettings
from budgeted.metering import after_disconnect
from budgeted.money import NANO
from budgeted.testing import SimulatedProvider, unmetered

ASKED: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Hello"}],
    "max_completion_tokens": 1000,
}
HOLD = 0.0006  # USD, what its thousand tokens of output cost


@pytest.fixture(autouse=True)
def alone(provider: SimulatedProvider) -> Iterator[None]:
    provider.reset()
    with unmetered():
        yield


@pytest.fixture
def client(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, timeout=20) as opened:
        yield opened


def headers(user: str, **reply: object) -> dict[str, str]:
    return {"x-budgeted-user": user, "x-simulate": json.dumps(reply)}


def settled(manager: BudgetManager, user: str, count: int = 1) -> float:
    """What a user has spent, in USD, once as many calls have ended."""
    manager.flush()
    balance = manager.balance(user)
    assert balance.held == 0
    return balance.spent


def ended(manager: BudgetManager, user: str) -> float:
    """What a user has spent, in USD, once nothing of its is under way."""
    while manager.balance(user).held or not manager.balance(user).spent:
        manager.flush()
    return manager.balance(user).spent


def test_a_stream_that_is_left_is_charged_at_least_what_is_billed(
    client: httpx2.Client, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    asked = {**ASKED, "stream": True}
    with client.stream("POST", "/v1/chat/completions", json=asked, headers=headers("lena", output_tokens=900)) as got:
        next(got.iter_raw())
    assert ended(manager, "lena") * NANO >= provider.billed_nano() > 0


def test_a_stream_that_is_left_is_read_on_where_its_provider_bills_it_in_full(
    client: httpx2.Client, manager: BudgetManager, provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(after_disconnect.BY_HOST, "127.0.0.1", after_disconnect.GOES_ON)
    asked = {**ASKED, "stream": True}
    reply = headers("gisela", output_tokens=900, gate_after=2)
    with client.stream("POST", "/v1/chat/completions", json=asked, headers=reply) as got:
        next(got.iter_raw())
        assert provider.wait_parked()
    provider.release()
    assert round(ended(manager, "gisela") * NANO) == provider.billed_nano() > 0


def test_a_call_whose_caller_has_gone_runs_on_and_is_charged_exactly(
    url: str, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    body = json.dumps(ASKED).encode()
    lines = [b"POST /v1/chat/completions HTTP/1.1", b"host: localhost", b"x-budgeted-user: gerda"]
    lines += [b'x-simulate: {"hang": true}', b"content-type: application/json", b"content-length: %d" % len(body)]
    provider.reply(hang=True)
    with socket.create_connection(("127.0.0.1", httpx2.URL(url).port or 0)) as caller:
        caller.sendall(b"\r\n".join([*lines, b"", body]))
        provider.wait_parked()
    provider.release()
    assert round(ended(manager, "gerda") * NANO) == provider.billed_nano() > 0
    assert not manager.uncertain() or all("gerda" not in one.users for one in manager.uncertain())


def test_a_dropped_connection_is_charged_what_it_may_have_cost(
    client: httpx2.Client, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    got = client.post("/v1/chat/completions", json=ASKED, headers=headers("dora", drop=True))
    assert got.status_code == 502
    assert "charged" in got.json()["error"]["message"]
    assert ended(manager, "dora") >= HOLD
    assert len(provider.bill) == 1, "it was not asked again"


def test_a_stream_that_breaks_is_not_shown_as_whole(
    client: httpx2.Client, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    asked = {**ASKED, "stream": True}
    with pytest.raises(httpx2.RemoteProtocolError):
        client.post("/v1/chat/completions", json=asked, headers=headers("berta", drop_after=2))
    assert ended(manager, "berta") * NANO >= provider.billed_nano() > 0


def test_an_error_of_the_provider_passes_as_it_is_and_costs_nothing(
    client: httpx2.Client, manager: BudgetManager
) -> None:
    reply = headers("rita", status=429, retry_after=7, message="slow down")
    got = client.post("/v1/chat/completions", json=ASKED, headers=reply)
    assert (got.status_code, got.headers["retry-after"]) == (429, "7")
    assert got.json()["error"]["message"] == "slow down"
    assert settled(manager, "rita") == 0


def test_an_upstream_that_is_not_there_costs_nothing(manager: BudgetManager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings = GatewaySettings(upstreams={"openai": f"http://127.0.0.1:{port}/v1"}, open=True)
    with gateway(manager, settings) as url, httpx2.Client(base_url=url) as client:
        got = client.post("/v1/chat/completions", json=ASKED, headers={"x-budgeted-user": "nora"})
    assert got.status_code == 502
    assert settled(manager, "nora") == 0


def test_an_upstream_that_says_nothing_is_given_up(manager: BudgetManager, provider: SimulatedProvider) -> None:
    settings = GatewaySettings(upstreams=upstreams_of(provider), open=True, silence_seconds=0.2)
    with gateway(manager, settings) as url, httpx2.Client(base_url=url) as client:
        got = client.post("/v1/chat/completions", json=ASKED, headers=headers("hilda", hang=True))
    provider.release()
    assert got.status_code == 504
    assert ended(manager, "hilda") >= HOLD
    provider.wait_idle()


def test_a_call_that_waits_for_its_turn_is_not_sent_when_its_caller_has_gone(
    manager: BudgetManager, provider: SimulatedProvider, url: str
) -> None:
    manager.set_limits("wanda", 0.0008)
    body = json.dumps(ASKED).encode()
    lines = [b"POST /v1/chat/completions HTTP/1.1", b"host: localhost", b"x-budgeted-user: wanda"]
    lines += [b"content-type: application/json", b"content-length: %d" % len(body)]
    provider.reply(hang=True)
    port = httpx2.URL(url).port or 0
    with socket.create_connection(("127.0.0.1", port)) as first:
        first.sendall(b"\r\n".join([*lines, b"", body]))
        provider.wait_parked()
        with socket.create_connection(("127.0.0.1", port)) as second:
            second.sendall(b"\r\n".join([*lines, b"", body]))
            second.settimeout(0.3)
            with pytest.raises(TimeoutError):
                second.recv(1)
        provider.release()
        assert first.recv(12) == b"HTTP/1.1 200"
    provider.reply()
    with httpx2.Client(base_url=url) as client:
        assert client.post("/v1/chat/completions", json=ASKED, headers={"x-budgeted-user": "wanda"}).status_code == 200
    assert len(provider.requests) == 2
