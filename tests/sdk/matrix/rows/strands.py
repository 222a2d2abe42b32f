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


def agent_of(model: Any) -> Agent:
    return Agent(model=model, callback_handler=None, retry_strategy=None)


def chat(provider: SimulatedProvider) -> Agent:
    client = {"base_url": provider.openai_url, "api_key": "any", "max_retries": 0}
    return agent_of(OpenAIModel(client_args=client, model_id="gpt-5-mini"))


def claude(provider: SimulatedProvider) -> Agent:
    client = {"base_url": provider.anthropic_url, "api_key": "any", "max_retries": 0}
    return agent_of(AnthropicModel(client_args=client, model_id="claude-haiku-4-5", max_tokens=500))


def call(agent: Agent) -> Any:
    return agent(ASK)


async def invoke_async(agent: Agent) -> Any:
    return await agent.invoke_async(ASK)


async def stream_async(agent: Agent) -> AsyncIterator[Any]:
    async for event in agent.stream_async(ASK):
        if "event" in event:  # others come before anything is sent
            yield event


for client in (chat, claude):
    row.call(client, name=f"{client.__name__}_call")(call)
    row.call(client, name=f"{client.__name__}_invoke_async")(invoke_async)
    row.stream(client, name=f"{client.__name__}_stream_async")(stream_async)
