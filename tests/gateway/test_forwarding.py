"""What goes through a gateway: charged as its provider bills it, by whoever says to pay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from budgeted import BudgetManager
from budgeted.money import NANO
from budgeted.testing import SimulatedProvider, unmetered

HELLO: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture(autouse=True)
def alone(provider: SimulatedProvider) -> Iterator[None]:
    """Only what this test asks is billed; and only the gateway meters it, not this process's own hooks."""
    provider.reset()
    with unmetered():
        yield


@pytest.fixture
def client(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url) as opened:
        yield opened


def spent_by(manager: BudgetManager, user: str) -> int:
    """Nano-USD."""
    return round(manager.balance(user).spent * NANO)


def test_openais_sdk_is_charged_what_it_is_billed(
    url: str, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", default_headers={"x-budgeted-user": "olga"}) as sdk:
        sdk.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
        sdk.responses.create(model="gpt-5-mini", input="Hello")
        sdk.embeddings.create(model="text-embedding-3-small", input="Hello")
        chunks = list(sdk.chat.completions.create(model="gpt-4o-mini", messages=HELLO, stream=True))
        with sdk.responses.stream(model="gpt-5-mini", input="Hello") as events:
            for _ in events:
                pass
    assert all(chunk.choices for chunk in chunks), "the chunk with the usage, which nobody asked for"
    assert len(provider.bill) == 5
    assert spent_by(manager, "olga") == provider.billed_nano()


def test_anthropics_sdk_is_charged_what_it_is_billed(
    url: str, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    with anthropic.Anthropic(base_url=url, api_key="any", default_headers={"x-budgeted-user": "anna"}) as sdk:
        sdk.messages.create(model="claude-haiku-4-5", max_tokens=50, messages=HELLO)
        with sdk.messages.stream(model="claude-haiku-4-5", max_tokens=50, messages=HELLO) as stream:
            assert stream.get_final_text()
        assert sdk.messages.count_tokens(model="claude-haiku-4-5", messages=HELLO).input_tokens >= 0
    assert len(provider.bill) == 2
    assert spent_by(manager, "anna") == provider.billed_nano()


@pytest.mark.parametrize("encoding", ["identity", "gzip", "br"])
def test_a_stream_passes_as_it_came(
    client: httpx2.Client, manager: BudgetManager, provider: SimulatedProvider, encoding: str
) -> None:
    asked = {"model": "gpt-4o-mini", "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    user = f"bytes in {encoding}"
    headers = {"x-budgeted-user": user, "accept-encoding": encoding, "x-simulate": json.dumps({"text": "word " * 50})}
    with client.stream("POST", "/v1/chat/completions", json=asked, headers=headers) as answer:
        through = answer.read()
    with (
        httpx2.Client() as direct,
        direct.stream("POST", f"{provider.openai_url}/chat/completions", json=asked, headers=headers) as answer,
    ):
        straight = answer.read()
    assert len(through) == len(straight)
    assert spent_by(manager, user) == provider.billed_nano() // 2


def test_the_headers_tell_what_was_spent_and_what_is_left_to_who_asks(
    client: httpx2.Client, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    manager.set_limits("hedda", "$1")
    asked = {"model": "gpt-4o-mini", "messages": HELLO}
    plain = client.post("/v1/chat/completions", json=asked, headers={"x-budgeted-user": "hedda"})
    assert not any(name.startswith("x-budgeted") for name in plain.headers)
    provider.reset()
    headers = {"x-budgeted-user": "hedda", "x-budgeted-headers": "1"}
    told = client.post("/v1/chat/completions", json=asked, headers=headers)
    assert round(float(told.headers["x-budgeted-spent"]) * NANO) == provider.billed_nano()
    left = float(told.headers["x-budgeted-remaining"])
    assert round(left * NANO) == NANO - spent_by(manager, "hedda")
    streamed = client.post("/v1/chat/completions", json={**asked, "stream": True}, headers=headers)
    assert "x-budgeted-spent" not in streamed.headers
    assert float(streamed.headers["x-budgeted-remaining"]) <= left


def test_a_key_holder_is_told_what_is_left(client: httpx2.Client, manager: BudgetManager) -> None:
    manager.set_limits("heidi", "$1 + 10 calls")
    told = client.get("/budget", headers={"x-budgeted-user": "heidi"}).json()
    assert told["user"] == "heidi"
    assert [(one["limit"], one["remaining"]) for one in told["limits"] if one["account"] == "heidi"] == [
        ("$1", 1.0),
        ("10 calls", 10),
    ]
