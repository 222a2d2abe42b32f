"""pydantic-ai over the OpenAI and Anthropic SDKs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pydantic
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from table import Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from budgeted.testing import SimulatedProvider

row = Row()

ASK = "Name a city."


class City(pydantic.BaseModel):
    """What is asked for in structured answers."""

    name: str


def _openai(provider: SimulatedProvider) -> OpenAIProvider:
    return OpenAIProvider(openai_client=openai.AsyncOpenAI(base_url=provider.openai_url, api_key="any", max_retries=0))


def chat(provider: SimulatedProvider) -> Agent[None, str]:
    return Agent(OpenAIChatModel("gpt-5-mini", provider=_openai(provider)))


def responses(provider: SimulatedProvider) -> Agent[None, str]:
    return Agent(OpenAIResponsesModel("gpt-5-mini", provider=_openai(provider)))


def claude(provider: SimulatedProvider) -> Agent[None, str]:
    client = anthropic.AsyncAnthropic(base_url=provider.anthropic_url, api_key="any", max_retries=0)
    return Agent(AnthropicModel("claude-haiku-4-5", provider=AnthropicProvider(anthropic_client=client)))


def cities(provider: SimulatedProvider) -> Agent[None, City]:
    return Agent(OpenAIChatModel("gpt-5-mini", provider=_openai(provider)), output_type=City)


async def _run(agent: Any) -> Any:
    return await agent.run(ASK)


def _run_sync(agent: Any) -> Any:
    return agent.run_sync(ASK)


async def _stream(agent: Any) -> AsyncIterator[str]:
    async with agent.run_stream(ASK) as result:
        async for text in result.stream_text(debounce_by=None):
            yield text


for client in (chat, responses, claude):
    row.call(client, name=f"{client.__name__}_run")(_run)
    row.call(client, name=f"{client.__name__}_run_sync")(_run_sync)
    row.stream(client, name=f"{client.__name__}_stream")(_stream)

row.call(cities, name="structured_run")(_run)
