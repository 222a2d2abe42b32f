"""Whose key an upstream is shown: the gateway's own, or the caller's; and who never sees either."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from amazon_bedrock import bedrock
from gateways import every_upstream_of, gateway
from key_requests import ENVIRONMENT, key_for

from budgeted import BudgetManager
from budgeted.gateway.credentials import CREDENTIALS
from budgeted.gateway.key_callers import KeyCallers
from budgeted.gateway.known_providers import KNOWN
from budgeted.gateway.settings import GatewaySettings
from budgeted.testing import SimulatedProvider, unmetered

HELLO: Any = [{"role": "user", "content": "Hello"}]
CHAT: Any = {"model": "gpt-4o-mini", "messages": HELLO, "max_tokens": 20}
CLAUDE: Any = {"model": "claude-haiku-4-5", "messages": HELLO, "max_tokens": 20}
GEMINI: Any = {"contents": [{"parts": [{"text": "Hello"}]}], "generationConfig": {"maxOutputTokens": 20}}
GEMINI_PATH = "models/gemini-2.5-flash:generateContent"
CONVERSE: Any = {"messages": [{"role": "user", "content": [{"text": "Hello"}]}], "inferenceConfig": {"maxTokens": 20}}
CHEAP_MISTRAL = {**CHAT, "model": "mistral-large-latest"}

OWN = {variable: f"own-{variable.lower()}-key" for one in KNOWN.values() for variable in one.keys[:1]}
ENVIRONMENT_OF_OWN = {**OWN, "CORP_API_KEY": "own-corp-key", "OPENAI_ORG_ID": "own-org", "OPENAI_PROJECT_ID": " "}

ACCOUNTS = {
    "openai-organization": "org-of-the-caller",
    "openai-project": "project-of-the-caller",
    "x-goog-user-project": "project-of-the-caller",
    "chatgpt-account-id": "account-of-the-caller",
    "cookie": "session=of-the-caller",
}

WAYS: dict[str, tuple[str, Any, dict[str, str]]] = {
    "openai": ("/v1/chat/completions", CHAT, {"authorization": "Bearer own-openai_api_key-key"}),
    "anthropic": ("/v1/messages", CLAUDE, {"x-api-key": "own-anthropic_api_key-key"}),
    "anthropic like openai": (
        "/anthropic/v1/chat/completions",
        {**CHAT, "model": "claude-haiku-4-5"},
        {"authorization": "Bearer own-anthropic_api_key-key"},
    ),
    "gemini": (f"/v1beta/{GEMINI_PATH}", GEMINI, {"x-goog-api-key": "own-gemini_api_key-key"}),
    "gemini like openai": (
        "/v1beta/openai/chat/completions",
        {**CHAT, "model": "gemini-2.5-flash"},
        {"authorization": "Bearer own-gemini_api_key-key"},
    ),
    "vertex": (
        f"/v1/projects/p/locations/global/publishers/google/{GEMINI_PATH}",
        GEMINI,
        {"x-goog-api-key": "own-vertex_api_key-key"},
    ),
    "azure": (
        "/openai/deployments/gpt-4o-mini/chat/completions?api-version=2026-01-01",
        CHAT,
        {"api-key": "own-azure_openai_api_key-key"},
    ),
    "bedrock": (
        "/model/amazon.nova-pro-v1%3A0/converse",
        CONVERSE,
        {"authorization": "Bearer own-aws_bearer_token_bedrock-key"},
    ),
    "mistral": ("/mistral/v1/chat/completions", CHEAP_MISTRAL, {"authorization": "Bearer own-mistral_api_key-key"}),
    "one of a company": ("/corp/v1/chat/completions", CHAT, {"authorization": "Bearer own-corp-key"}),
}


@pytest.fixture(autouse=True)
def alone(provider: SimulatedProvider) -> Iterator[None]:
    provider.reset()
    with unmetered():
        yield


def served(manager: BudgetManager, provider: SimulatedProvider, environment: dict[str, str], **upstreams: str) -> Any:
    settings = GatewaySettings(upstreams={**every_upstream_of(provider), **upstreams})
    return gateway(manager, settings, KeyCallers(manager, ENVIRONMENT), environment)


@pytest.fixture(scope="module")
def owning(manager: BudgetManager, provider: SimulatedProvider) -> Iterator[str]:
    """The address of a gateway with keys of its own."""
    with served(manager, provider, ENVIRONMENT_OF_OWN) as url:
        yield url


@pytest.fixture(scope="module")
def passing(manager: BudgetManager, provider: SimulatedProvider) -> Iterator[str]:
    """The address of a gateway without any."""
    with served(manager, provider, {}) as url:
        yield url


@pytest.fixture(scope="module")
def key(manager: BudgetManager) -> str:
    return key_for(manager, "alice")[0]


def shown(provider: SimulatedProvider) -> dict[str, str]:
    """What the provider was shown of keys and accounts by the one request that it has seen."""
    (request,) = provider.requests
    names = {*ACCOUNTS, *(name.decode() for name in CREDENTIALS)}
    return {name: value for name, value in request.headers.items() if name in names}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [name.decode() for name in CREDENTIALS])
def test_the_gateways_own_key_takes_the_place_of_all_that_the_caller_shows(
    way: str, name: str, owning: str, key: str, provider: SimulatedProvider
) -> None:
    path, body, wanted = WAYS[way]
    others = {one.decode(): "sk-of-the-caller" for one in CREDENTIALS if one.decode() != name}
    sent = {**others, name: f"Bearer {key}" if name == "authorization" else key, **ACCOUNTS}
    with httpx2.Client() as http:
        got = http.post(owning + path, json=body, headers=sent)
    assert got.status_code == 200
    organization = {"openai-organization": "own-org"} if way == "openai" else {}
    assert shown(provider) == {**wanted, **organization}
    assert "of-the-caller" not in repr(provider.requests)
    assert key not in repr(provider.requests)


@pytest.mark.parametrize(
    ("path", "body", "credential"),
    [
        ("/v1/messages", CLAUDE, {"authorization": "Bearer sk-ant-oat01-x", "anthropic-beta": "oauth-2025-04-20"}),
        ("/v1/messages", CLAUDE, {"x-api-key": "sk-ant-api03-x"}),
        ("/v1/responses", {"model": "gpt-5-mini", "input": "Hi"}, {"authorization": "Bearer eyJ.chatgpt", **ACCOUNTS}),
        (
            "/openai/deployments/gpt-4o-mini/chat/completions?api-version=2026-01-01",
            CHAT,
            {"authorization": "Bearer eyJ.entra"},
        ),
        (f"/v1beta/{GEMINI_PATH}", GEMINI, {"authorization": "Bearer ya29.x", "x-goog-user-project": "mine"}),
        (f"/v1beta/{GEMINI_PATH}", GEMINI, {"x-goog-api-key": "AIza-x"}),
    ],
)
def test_a_key_of_the_callers_own_passes_with_all_that_goes_with_it(
    path: str, body: Any, credential: dict[str, str], passing: str, key: str, provider: SimulatedProvider
) -> None:
    with httpx2.Client() as http:
        got = http.post(passing + path, json=body, headers={**credential, "x-budgeted-key": key})
    assert got.status_code == 200
    (request,) = provider.requests
    assert {name: request.headers.get(name) for name in credential} == credential
    assert "x-budgeted-key" not in request.headers
    assert key not in repr(request)


def test_where_nobody_has_a_key_one_is_told_so_and_nothing_is_sent(manager: BudgetManager, key: str) -> None:
    with (
        gateway(manager, GatewaySettings(), KeyCallers(manager, ENVIRONMENT)) as url,
        httpx2.Client(base_url=url, headers={"authorization": f"Bearer {key}"}) as http,
    ):
        for path, body, variable in (
            ("/v1/chat/completions", CHAT, "OPENAI_API_KEY"),
            ("/v1/messages", CLAUDE, "ANTHROPIC_API_KEY"),
            (f"/v1beta/{GEMINI_PATH}", GEMINI, "GEMINI_API_KEY"),
        ):
            got = http.post(path, json=body)
            assert got.status_code == 401
            text = got.json()["error"]["message"]
            assert f"set {variable} where it runs" in text
            assert "with the gateway's in x-budgeted-key" in text
        assert http.get("/v1/models").status_code == 401
    assert manager.balance("alice").held == 0


def test_headers_that_are_said_to_be_of_a_connection_go_no_further_either_way(manager: BudgetManager) -> None:
    with bedrock() as amazon:
        settings = GatewaySettings(upstreams={"corp": amazon.url}, open=True)
        with gateway(manager, settings) as url, httpx2.Client() as http:
            hop = {
                "connection": "keep-alive, X-Hop , content-type, X-Amzn-Bedrock-Service-Tier",
                "x-amzn-bedrock-service-tier": "flex",
                "x-hop": "1",
                "te": "trailers",
                "x-end": "2",
            }
            got = http.post(f"{url}/corp/model/amazon.nova-pro-v1%3A0/converse", json=CONVERSE, headers=hop)
    assert got.status_code == 200
    (came,) = amazon.arrived
    assert not {"x-hop", "te"} & came.headers.keys()
    assert came.headers["x-end"] == "2"
    assert came.headers["content-type"] == "application/json", "or the upstream may read the body otherwise"
    assert came.headers["x-amzn-bedrock-service-tier"] == "flex", "or it would bill another"
    assert "x-hop" not in got.headers
    assert got.headers["x-end"] == "2"


def test_no_key_is_in_an_answer_or_in_a_log(
    manager: BudgetManager, provider: SimulatedProvider, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    manager.set_limits("poor", 0.0000001)
    poor = key_for(manager, "poor")[0]
    secret = "own-secret-of-the-gateway"  # noqa: S105 - nobody looks at it
    ways = [
        ("/v1/chat/completions", CHAT, key, {}),
        ("/v1/chat/completions", {**CHAT, "stream": True}, key, {}),
        ("/v1/chat/completions", CHAT, poor, {}),
        ("/v1/chat/completions", CHAT, key[:-1], {}),
        ("/v1/chat/completions", {**CHAT, "model": "nobody-knows"}, key, {}),
        ("/v1/chat/completions", CHAT, key, {"x-simulate": '{"status": 401}'}),
        ("/v1/chat/completions", CHAT, key, {"x-simulate": '{"drop": true}'}),
        ("/v1/unheard", {}, key, {}),
        ("/v1/files", {}, key, {}),
        ("/nowhere/at/all", {}, key, {}),
        ("/gone/v1/chat/completions", CHAT, key, {}),
    ]
    answers = ""
    environment = {"OPENAI_API_KEY": secret, "GONE_API_KEY": secret}
    with served(manager, provider, environment, gone="http://127.0.0.1:9/v1") as url, httpx2.Client() as http:
        for path, body, shown_key, more in ways:
            got = http.post(url + path, json=body, headers={"authorization": f"Bearer {shown_key}", **more})
            answers += f"{got.status_code} {got.headers} {got.text}\n"
    own_log = "\n".join(one.getMessage() for one in caplog.records if not one.name.startswith(("httpx", "httpcore")))
    for one in (secret, key, key[:-1], poor):
        assert one not in answers
        assert one not in own_log
    manager.flush()


def test_a_key_that_no_header_can_hold_is_told_by_its_variable_alone(manager: BudgetManager) -> None:
    for wrong in ("sk-one\nsk-two", "sk-ключ", "sk-\x00"):
        with (
            pytest.raises(ValueError, match="OPENAI_API_KEY has characters in it") as raised,
            gateway(manager, GatewaySettings(open=True), environment={"OPENAI_API_KEY": wrong}),
        ):
            pass
        assert "sk-" not in str(raised.value)
