"""The OpenAI Agents SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pydantic
from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, set_tracing_disabled
from table import Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from budgeted.testing import SimulatedProvider

set_tracing_disabled(disabled=True)

row = Row()

ASK = "Name a city."


class City(pydantic.BaseModel):
    """What is asked for in structured answers."""

    name: str


def _client(provider: SimulatedProvider) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=provider.openai_url, api_key="any", max_retries=0)


def chat(provider: SimulatedProvider) -> Agent[Any]:
    model = OpenAIChatCompletionsModel(model="gpt-5-mini", openai_client=_client(provider))
    return Agent(name="chat", model=model)


def responses(provider: SimulatedProvider) -> Agent[Any]:
    model = OpenAIResponsesModel(model="gpt-5-mini", openai_client=_client(provider))
    return Agent(name="responses", model=model)


def cities(provider: SimulatedProvider) -> Agent[Any]:
    model = OpenAIResponsesModel(model="gpt-5-mini", openai_client=_client(provider))
    return Agent(name="cities", model=model, output_type=City)


async def _run(agent: Agent[Any]) -> Any:
    return await Runner.run(agent, ASK)


def _run_sync(agent: Agent[Any]) -> Any:
    return Runner.run_sync(agent, ASK)


async def _run_streamed(agent: Agent[Any]) -> AsyncIterator[Any]:
    async for event in Runner.run_streamed(agent, ASK).stream_events():
        if event.type == "raw_response_event":  # others come before anything is sent
            yield event


for client in (chat, responses):
    row.call(client, name=f"{client.__name__}_run")(_run)
    row.call(client, name=f"{client.__name__}_run_sync")(_run_sync)
    row.stream(client, name=f"{client.__name__}_run_streamed", eager=True)(_run_streamed)

row.call(cities, name="structured_run")(_run)
