"""Strands Agents over the OpenAI and Anthropic SDKs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from strands import Agent
from strands.models.anthropic import AnthropicModel
from strands.models.openai import OpenAIModel
from table import Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from budgeted.testing import SimulatedProvider

row = Row()

ASK = "Name a city."


def _agent(model: Any) -> Agent:
    return Agent(model=model, callback_handler=None, retry_strategy=None)


def chat(provider: SimulatedProvider) -> Agent:
    client = {"base_url": provider.openai_url, "api_key": "any", "max_retries": 0}
    return _agent(OpenAIModel(client_args=client, model_id="gpt-5-mini"))


def claude(provider: SimulatedProvider) -> Agent:
    client = {"base_url": provider.anthropic_url, "api_key": "any", "max_retries": 0}
    return _agent(AnthropicModel(client_args=client, model_id="claude-haiku-4-5", max_tokens=500))


def _call(agent: Agent) -> Any:
    return agent(ASK)


async def _invoke_async(agent: Agent) -> Any:
    return await agent.invoke_async(ASK)


async def _stream_async(agent: Agent) -> AsyncIterator[Any]:
    async for event in agent.stream_async(ASK):
        if "event" in event:  # others come before anything is sent
            yield event


for client in (chat, claude):
    row.call(client, name=f"{client.__name__}_call")(_call)
    row.call(client, name=f"{client.__name__}_invoke_async")(_invoke_async)
    row.stream(client, name=f"{client.__name__}_stream_async")(_stream_async)
