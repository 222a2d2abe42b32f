"""A request that is repeated in a block is refused, whichever SDK or client makes it."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import litellm
import openai
import pytest

from budgeted import BudgetExceededError, BudgetManager
from budgeted.testing import Reply, SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.sdk

ASK: dict[str, Any] = {
    "model": "gpt-5-mini",
    "messages": [{"role": "user", "content": "Hi"}],
    "max_completion_tokens": 50,
}


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("tests", ledger="memory://", wait=0) as made:
        yield made


@pytest.fixture(scope="module")
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as made:
        yield made


def openai_chat(provider: SimulatedProvider) -> None:
    with openai.OpenAI(base_url=provider.openai_url, api_key="any") as client:
        client.chat.completions.create(**ASK)


def openai_stream(provider: SimulatedProvider) -> None:
    with openai.OpenAI(base_url=provider.openai_url, api_key="any") as client:
        for _ in client.chat.completions.create(**ASK, stream=True):
            pass


def openai_async(provider: SimulatedProvider) -> None:
    async def main() -> None:
        async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="any") as client:
            await client.chat.completions.create(**ASK)

    asyncio.run(main())


def openai_responses(provider: SimulatedProvider) -> None:
    with openai.OpenAI(base_url=provider.openai_url, api_key="any") as client:
        client.responses.create(model="gpt-5-mini", input="Hi", max_output_tokens=50)


def claude(provider: SimulatedProvider) -> None:
    with anthropic.Anthropic(base_url=provider.anthropic_url, api_key="any") as client:
        client.messages.create(model="claude-haiku-4-5", max_tokens=50, messages=[{"role": "user", "content": "Hi"}])


def through_litellm(provider: SimulatedProvider) -> None:
    litellm.completion("openai/gpt-5-mini", ASK["messages"], api_base=provider.openai_url, api_key="any", max_tokens=50)


def by_transport(provider: SimulatedProvider) -> None:
    httpx.post(f"{provider.openai_url}/chat/completions", json=ASK, headers={"authorization": "Bearer any"})


def by_standard_library(provider: SimulatedProvider) -> None:
    body = json.dumps(ASK).encode()
    asked = urllib.request.Request(  # noqa: S310 - of this host
        f"{provider.openai_url}/chat/completions",
        body,
        {"content-type": "application/json", "authorization": "Bearer any"},
    )
    urllib.request.urlopen(asked).read()  # noqa: S310


@pytest.mark.parametrize(
    "way",
    [
        openai_chat,
        openai_stream,
        openai_async,
        openai_responses,
        claude,
        through_litellm,
        by_transport,
        by_standard_library,
    ],
)
def test_a_repeated_request_is_refused_however_it_is_made(
    way: Callable[[SimulatedProvider], None], manager: BudgetManager, provider: SimulatedProvider
) -> None:
    block = manager.budget("alice", repeat_limit=2, reraise=True)
    with pytest.raises(Exception, match="repeat_limit"), block:  # some SDKs wrap it
        for _ in range(3):
            way(provider)
    assert (block.calls, block.refused) == (2, 1)


def test_an_sdks_own_retries_are_one_request(manager: BudgetManager, provider: SimulatedProvider) -> None:
    provider.queue(Reply(status=500), Reply(status=500))
    with (
        manager.budget(repeat_limit=1),
        openai.OpenAI(base_url=provider.openai_url, api_key="any", max_retries=3) as client,
    ):
        client.chat.completions.create(**ASK)
        with pytest.raises(BudgetExceededError, match="repeat_limit="):
            client.chat.completions.create(**ASK)


def test_who_decorates_a_function_counts_in_each_call_of_it(
    manager: BudgetManager, provider: SimulatedProvider
) -> None:
    client = openai.OpenAI(base_url=provider.openai_url, api_key="any")

    @manager.budgeted(repeat_limit=2)
    def work(times: int) -> None:
        for _ in range(times):
            client.chat.completions.create(**ASK)

    @manager.budgeted
    def call(model: str, messages: object, max_completion_tokens: int = 50) -> object:
        return client.chat.completions.create(
            model=model, messages=messages, max_completion_tokens=max_completion_tokens
        )  # type: ignore[call-overload]

    work(2)
    work(2)
    with pytest.raises(BudgetExceededError, match="repeat_limit="):
        work(3)
    with manager.budget(repeat_limit=2):
        call(ASK["model"], ASK["messages"])
        call(ASK["model"], ASK["messages"])
        with pytest.raises(BudgetExceededError, match="repeat_limit="):
            call(ASK["model"], ASK["messages"])
