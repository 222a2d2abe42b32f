"""A gateway that wants keys, from outside: who is let through to the provider, and what it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from gateways import gateway, upstreams_of
from key_requests import ENVIRONMENT, books_of, key_for

from budgeted import BudgetManager
from budgeted.gateway.key_books import KeyBooks
from budgeted.gateway.key_callers import KeyCallers
from budgeted.gateway.settings import GatewaySettings
from budgeted.testing import SimulatedProvider, unmetered

HELLO: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def guarded(manager: BudgetManager, provider: SimulatedProvider) -> Iterator[str]:
    """The address of a gateway that wants keys, and has none of the providers' own."""
    settings = GatewaySettings(upstreams=upstreams_of(provider))
    with gateway(manager, settings, KeyCallers(manager, ENVIRONMENT)) as address:
        yield address


@pytest.fixture(autouse=True)
def alone(provider: SimulatedProvider) -> None:
    provider.reset()


def asks(url: str, key: str, model: str = "gpt-4o-mini", **options: Any) -> Any:
    with unmetered(), openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as sdk:
        return sdk.chat.completions.create(model=model, messages=HELLO, max_tokens=20, **options)


def test_a_call_is_charged_to_the_keys_user_and_the_key(
    guarded: str, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    text, key = key_for(manager, "alice", limits="$1/day")
    asks(guarded, text)
    spent = manager.balance(f"tag:gateway-key={key.id}").spent
    assert spent == manager.accounts("alice")[0].spent > 0
    assert len(provider.requests) == 1
    assert text not in repr(provider.requests)


def test_a_key_of_ours_is_shown_to_no_provider_in_whichever_headers_it_is(
    guarded: str, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    mine, other = key_for(manager, "alice")[0], key_for(manager, "bob")[0]
    for headers in (
        {"authorization": f"Bearer {mine}", "x-api-key": mine},
        {"x-budgeted-key": mine, "authorization": f"Bearer {other}", "x-other": mine},
        {"x-budgeted-key": mine, "authorization": "Bearer sk-of-the-provider"},
    ):
        with unmetered(), httpx2.Client(headers=headers) as http:
            body = {"model": "gpt-4o-mini", "messages": HELLO, "max_tokens": 20}
            assert http.post(f"{guarded}/v1/chat/completions", json=body).status_code == 200
    assert len(provider.requests) == 3
    shown = [dict(request.headers) for request in provider.requests]
    assert "bk-" not in repr(shown)
    assert [one.get("authorization") for one in shown] == [None, None, "Bearer sk-of-the-provider"]


def test_a_spent_key_is_refused_and_another_of_its_user_is_not(
    guarded: str, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    poor, rich = key_for(manager, "alice", limits="$0.0000001")[0], key_for(manager, "alice")[0]
    with pytest.raises(openai.RateLimitError, match="nothing was sent"):
        asks(guarded, poor)
    assert not provider.requests
    asks(guarded, rich)


@pytest.mark.parametrize("path", ["/v1/models", "/budget"])
def test_nothing_is_free_without_a_good_key(guarded: str, manager: BudgetManager, path: str) -> None:
    text, key = key_for(manager, "alice", name="laptop")
    with httpx2.Client() as http:
        assert http.get(guarded + path).status_code == 401
        assert http.get(guarded + path, headers={"x-api-key": text[:-1]}).status_code == 401
        for address in (f"{path}?key={text}", f"/{text}{path}", f"{path}/%62k-{text[3:]}"):
            got = http.get(guarded + address)
            assert got.status_code == 400
            assert text[3:20] not in got.text
        KeyBooks(books_of(manager)).revoke(key.id, "leaked")
        got = http.get(guarded + path, headers={"x-api-key": text})
        assert 400 <= got.status_code < 500
        assert f"{key.id} (laptop) was revoked, and nothing was sent: leaked" in got.text


def test_agents_are_shown_why_a_key_was_revoked(
    guarded: str, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    text, key = key_for(manager, "alice")
    asks(guarded, text)
    provider.reset()
    KeyBooks(books_of(manager)).revoke(key.id, "it was in a public repository")
    for _ in range(2):  # by the ledger, and from then on by who tells callers
        with pytest.raises(openai.RateLimitError, match="it was in a public repository"):
            asks(guarded, text)
    with (
        unmetered(),
        anthropic.Anthropic(base_url=guarded, api_key=text, max_retries=5) as sdk,
        pytest.raises(anthropic.APIStatusError, match="it was in a public repository") as raised,
    ):
        sdk.messages.create(model="claude-haiku-4-5", max_tokens=50, messages=HELLO)
    assert raised.value.status_code == 402
    assert not provider.requests


def test_a_key_revoked_in_the_midst_of_a_stream_ends_with_it(guarded: str, manager: BudgetManager) -> None:
    text, key = key_for(manager, "alice")
    with unmetered(), openai.OpenAI(base_url=f"{guarded}/v1", api_key=text, max_retries=0) as sdk:
        stream = sdk.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=20, stream=True)
        next(stream)
        KeyBooks(books_of(manager)).revoke(key.id)
        assert [part.choices[0].finish_reason for part in stream if part.choices][-1]
    assert manager.balance(f"tag:gateway-key={key.id}").held == 0
    with pytest.raises(openai.RateLimitError):
        asks(guarded, text)


def test_models_that_a_key_may_not_ask_for_are_refused_wherever_they_are_named(
    guarded: str, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    text, _ = key_for(manager, "alice", models=["gpt-4o-mini*", "claude-haiku-*"])
    asks(guarded, text)
    provider.reset()
    for model, more in (
        ("gpt-4o", {}),
        ("GPT-4O-MINI", {}),
        ("gpt-4o-mini", {"extra_body": {"models": ["gpt-4o-mini", "gpt-4o"]}}),
    ):
        with pytest.raises(openai.PermissionDeniedError, match=r"may ask for gpt-4o-mini\*, claude-haiku-\*, and not"):
            asks(guarded, text, model, **more)
    assert not provider.requests


def test_a_fallback_is_asked_for_those_alone_whose_key_allows_it(provider: SimulatedProvider) -> None:
    fallback = {0.5: "gpt-4o-mini"}
    settings = GatewaySettings(upstreams=upstreams_of(provider))
    with (
        BudgetManager("fallback", ledger="memory://", max_budget="$1", fallback=fallback) as manager,
        gateway(manager, settings, KeyCallers(manager, ENVIRONMENT)) as url,
    ):
        with manager.hold(cost=0.6) as held:
            held.settle(cost=0.6)
        one, both = (key_for(manager, "alice", models=models)[0] for models in (["gpt-4o"], ["gpt-4o*"]))
        with pytest.raises(openai.PermissionDeniedError, match="not for 'gpt-4o-mini'"):
            asks(url, one, "gpt-4o")
        assert not provider.requests
        assert (manager.balance().spent, manager.balance().held) == (0.6, 0)
        assert asks(url, both, "gpt-4o").model.startswith("gpt-4o-mini")


def test_of_what_cannot_be_read_nobody_knows_the_model(provider: SimulatedProvider) -> None:
    settings = GatewaySettings(upstreams=upstreams_of(provider))
    with (
        BudgetManager("unread", ledger="memory://", unmetered="allow") as manager,
        gateway(manager, settings, KeyCallers(manager, ENVIRONMENT)) as url,
        unmetered(),
        httpx2.Client() as http,
    ):
        some, any_ = (key_for(manager, "alice", models=models)[0] for models in (["gpt-4o"], []))
        asked = [http.post(f"{url}/openai/v1/new/things", json={}, headers={"api-key": key}) for key in (some, any_)]
        assert [one.status_code for one in asked] == [403, 404]
        assert "not for one that cannot be read" in asked[0].text
        assert len(provider.requests) == 1
