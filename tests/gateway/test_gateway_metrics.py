"""``/metrics`` of a gateway: what its requests were, and what budgets are, for whom it may be shown to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx2
import pytest
from gateways import gateway, upstreams_of

from budgeted import BudgetManager
from budgeted.gateway.metrics import GatewayMetrics
from budgeted.gateway.observers import Observers
from budgeted.gateway.request_records import route_of
from budgeted.gateway.settings import GatewaySettings
from budgeted.testing import SimulatedProvider, unmetered

HELLO: Any = [{"role": "user", "content": "Hello"}]
TOKEN = "-".join("a token of nobody else".split())


class Scraped(NamedTuple):
    """A gateway, and what tells of it."""

    client: httpx2.Client
    provider: SimulatedProvider

    def values(self, name: str, **labels: str) -> list[float]:
        """The values of a metric's series that have these labels."""
        text = self.client.get("/metrics").raise_for_status().text
        rows = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", text, re.MULTILINE)
        return [
            float(value) for found, value in rows if labels.items() <= dict(re.findall(r'(\w+)="(.*?)"', found)).items()
        ]

    def post(self, path: str = "/v1/chat/completions", **body: Any) -> httpx2.Response:
        return self.client.post(path, json={"model": "gpt-4o-mini", "messages": HELLO, **body})


@pytest.fixture(scope="module")
def scraped(provider: SimulatedProvider) -> Iterator[Scraped]:
    metrics = GatewayMetrics(TOKEN)
    settings = GatewaySettings(upstreams=upstreams_of(provider), open=True, models=("gpt-*",))
    with (
        BudgetManager("scraped", ledger="memory://", max_budget="$7", default_user_limits="$1") as manager,
        gateway(manager, settings, observers=Observers(metrics)) as url,
        httpx2.Client(base_url=url) as client,
        unmetered(),
    ):
        yield Scraped(client, provider)
    metrics.close()


def test_requests_are_counted_by_upstream_route_and_status(scraped: Scraped) -> None:
    labels = {"budgeted_upstream": "openai", "http_route": "/v1/chat/completions", "http_request_method": "POST"}
    name = "http_server_request_duration_seconds_count"
    before = sum(scraped.values(name, **labels, http_response_status_code="200"))
    scraped.post().raise_for_status()
    scraped.post(stream=True).raise_for_status()
    assert scraped.post(model="o4-mini").status_code == 403
    assert sum(scraped.values(name, **labels, http_response_status_code="200")) == before + 2
    assert scraped.values(name, **labels, http_response_status_code="403") == [1]


def test_what_was_spent_and_what_is_left_is_told(scraped: Scraped) -> None:
    scraped.provider.reset()
    before = sum(scraped.values("budgeted_spend_USD_total", gen_ai_request_model="gpt-4o"))
    scraped.post(model="gpt-4o").raise_for_status()
    spent = sum(scraped.values("budgeted_spend_USD_total", gen_ai_request_model="gpt-4o")) - before
    assert spent == pytest.approx(scraped.provider.billed_nano() / 1e9)
    assert scraped.values("budgeted_limit_USD", budgeted_project="scraped", budgeted_account="global") == [7]


def test_streams_that_are_open_are_told(scraped: Scraped) -> None:
    def streams() -> float:
        return sum(scraped.values("budgeted_gateway_streams", budgeted_upstream="openai"))

    simulated = {"x-simulate": json.dumps({"output_tokens": 50, "gate_after": 2, "pieces": 10})}
    asked = {"model": "gpt-4o-mini", "messages": HELLO, "stream": True}
    with scraped.client.stream("POST", "/v1/chat/completions", json=asked, headers=simulated) as answer:
        pieces = answer.iter_bytes()
        assert next(pieces)
        assert streams() == 1
        scraped.provider.release()
        assert b"".join(pieces)
    assert streams() == 0


@pytest.mark.parametrize("path", ["/nothing/here", "/v1/chat/completions?x=1"])
def test_users_and_paths_that_strangers_invent_are_no_labels(scraped: Scraped, path: str) -> None:
    scraped.client.post(path, json={}, headers={"x-budgeted-user": "mallory-the-user"})
    text = scraped.client.get("/metrics").text
    assert "mallory" not in text
    assert "nothing/here" not in text


def test_from_elsewhere_metrics_are_read_with_the_token_alone(scraped: Scraped) -> None:
    elsewhere = {"x-forwarded-for": "203.0.113.7"}
    refused = scraped.client.get("/metrics", headers=elsewhere)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert TOKEN not in refused.text
    for given in ("Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"):
        assert scraped.client.get("/metrics", headers={**elsewhere, "authorization": given}).status_code == 401
    allowed = scraped.client.get("/metrics", headers={**elsewhere, "authorization": f"Bearer {TOKEN}"})
    assert "budgeted_limit_USD" in allowed.text
    assert TOKEN not in allowed.text


def test_no_page_of_a_stranger_reads_metrics(scraped: Scraped) -> None:
    for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert scraped.client.get("/metrics", headers=headers).status_code == 401


def test_metrics_are_only_read(scraped: Scraped) -> None:
    assert scraped.client.post("/metrics").status_code == 405
    assert scraped.client.head("/metrics").text == ""


ROUTES = {
    "/v1/chat/completions": "/v1/chat/completions",
    "/v1beta/models/gemini-2.5-flash:streamGenerateContent": "/v1beta/models/{id}:streamGenerateContent",
    "/model/anthropic.claude-haiku-4-5/converse-stream": "/model/{id}/converse-stream",
    "/openai/deployments/mine/chat/completions": "/openai/deployments/{id}/chat/completions",
    "/v1/responses/resp_0123/input_items": "/v1/responses/{id}/{id}",
    "/v1/models/a:b:c": "/v1/models/{id}",
    "/" + "/".join("abcdefghijkl"): "/" + "/".join(["{id}"] * 8) + "/...",
}


@pytest.mark.parametrize("path", ROUTES)
def test_a_route_has_no_ids(path: str) -> None:
    assert route_of(path) == ROUTES[path]
