"""Agno over the OpenAI, Anthropic and Google SDKs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

os.environ.setdefault("AGNO_TELEMETRY", "false")

from agno.agent import Agent
from agno.models.anthropic import Claude
from agno.models.google import Gemini
from agno.models.message import Message
from agno.models.openai import OpenAIChat, OpenAIResponses
from agno.models.response import ModelResponseEvent
from table import Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from agno.models.base import Model

    from budgeted.testing import SimulatedProvider

row = Row()

ASK = "Name a city."
NOTHING_SENT_YET = ModelResponseEvent.model_request_started.value


def chat(provider: SimulatedProvider) -> OpenAIChat:
    return OpenAIChat(id="gpt-5-mini", base_url=provider.openai_url, api_key="any", max_retries=0)


def responses(provider: SimulatedProvider) -> OpenAIResponses:
    return OpenAIResponses(id="gpt-5-mini", base_url=provider.openai_url, api_key="any", max_retries=0)


def claude(provider: SimulatedProvider) -> Claude:
    client = {"base_url": provider.anthropic_url, "max_retries": 0}
    return Claude(id="claude-haiku-4-5", api_key="any", max_tokens=500, client_params=client)


def gemini(provider: SimulatedProvider) -> Gemini:
    client = {"http_options": {"base_url": provider.google_url}}
    return Gemini(id="gemini-2.5-flash", api_key="any", vertexai=False, client_params=client)


def _messages() -> list[Message]:
    return [Message(role="user", content=ASK)]  # the answer is written to it


def _response(model: Any) -> Any:
    return model.response(messages=_messages())


async def _aresponse(model: Any) -> Any:
    return await model.aresponse(messages=_messages())


def _response_stream(model: Any) -> Iterator[Any]:
    for part in model.response_stream(messages=_messages()):
        if part.event != NOTHING_SENT_YET:
            yield part


async def _aresponse_stream(model: Any) -> AsyncIterator[Any]:
    async for part in model.aresponse_stream(messages=_messages()):
        if part.event != NOTHING_SENT_YET:
            yield part


def _run(agent: Agent) -> Any:
    return agent.run(ASK)


async def _arun(agent: Agent) -> Any:
    return await agent.arun(ASK)


def _run_stream(agent: Agent) -> Any:
    return agent.run(ASK, stream=True)


def _arun_stream(agent: Agent) -> Any:
    return agent.arun(ASK, stream=True)


def _add(kind: str, model: Callable[[SimulatedProvider], Model]) -> None:
    def agent(provider: SimulatedProvider) -> Agent:
        return Agent(model=model(provider), telemetry=False)

    row.call(model, name=f"{kind}_response")(_response)
    row.call(model, name=f"{kind}_aresponse")(_aresponse)
    row.stream(model, name=f"{kind}_response_stream")(_response_stream)
    row.stream(model, name=f"{kind}_aresponse_stream")(_aresponse_stream)
    # An agent logs what goes wrong, and its answer says so.
    row.call(agent, name=f"{kind}_run", swallows=True)(_run)
    row.call(agent, name=f"{kind}_arun", swallows=True)(_arun)
    row.stream(agent, name=f"{kind}_run_stream", swallows=True)(_run_stream)
    row.stream(async_client=agent, name=f"{kind}_arun_stream", swallows=True)(_arun_stream)


_add("chat", chat)
_add("responses", responses)
_add("claude", claude)
_add("gemini", gemini)
