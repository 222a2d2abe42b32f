"""AutoGen over the OpenAI SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autogen_agentchat.agents import AssistantAgent
from autogen_core.models import UserMessage
from autogen_ext.models.openai import OpenAIChatCompletionClient
from table import Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from budgeted.testing import SimulatedProvider

row = Row()

ASK = "Name a city."
MESSAGES = [UserMessage(content=ASK, source="user")]


def model(provider: SimulatedProvider) -> OpenAIChatCompletionClient:
    return OpenAIChatCompletionClient(model="gpt-5-mini", base_url=provider.openai_url, api_key="any", max_retries=0)


def agent(provider: SimulatedProvider) -> AssistantAgent:
    return AssistantAgent("geographer", model_client=model(provider))


def streaming_agent(provider: SimulatedProvider) -> AssistantAgent:
    return AssistantAgent("geographer", model_client=model(provider), model_client_stream=True)


@row.call(model)
async def create(client: Any) -> Any:
    return await client.create(MESSAGES)


@row.stream(async_client=model)
def create_stream(client: Any) -> Any:
    return client.create_stream(MESSAGES)


@row.call(agent)
async def agent_run(made: AssistantAgent) -> Any:
    return await made.run(task=ASK)


@row.stream(streaming_agent)
async def agent_run_stream(made: AssistantAgent) -> AsyncIterator[Any]:
    async for event in made.run_stream(task=ASK):
        if getattr(event, "source", None) != "user":  # the question comes back before anything is sent
            yield event
