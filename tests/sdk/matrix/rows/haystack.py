"""Haystack over the OpenAI SDK."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")

from haystack import Pipeline
from haystack.components.agents import Agent
from haystack.components.embedders import OpenAITextEmbedder
from haystack.components.generators.chat import OpenAIChatGenerator, OpenAIResponsesChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.utils import Secret
from table import Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from haystack.dataclasses import StreamingChunk

    from budgeted.testing import SimulatedProvider

row = Row()

ASK = [ChatMessage.from_user("Name a city.")]
KEY = Secret.from_token("any")


def chat(provider: SimulatedProvider, **options: Any) -> Any:
    url = provider.openai_url
    return OpenAIChatGenerator(model="gpt-5-mini", api_base_url=url, api_key=KEY, max_retries=0, **options)


def responses(provider: SimulatedProvider, **options: Any) -> Any:
    url = provider.openai_url
    return OpenAIResponsesChatGenerator(model="gpt-5-mini", api_base_url=url, api_key=KEY, max_retries=0, **options)


def embedder(provider: SimulatedProvider) -> Any:
    url = provider.openai_url
    return OpenAITextEmbedder(model="text-embedding-3-small", api_base_url=url, api_key=KEY, max_retries=0)


def pipeline(provider: SimulatedProvider) -> Pipeline:
    made = Pipeline()
    made.add_component("model", chat(provider))
    return made


def agent(provider: SimulatedProvider) -> Any:
    return Agent(chat_generator=chat(provider))


def _run(model: Any) -> Any:
    return model.run(messages=ASK)


async def _run_async(model: Any) -> Any:
    return await model.run_async(messages=ASK)


def _seen(chunk: StreamingChunk) -> None:
    pass


async def _awaited(chunk: StreamingChunk) -> None:
    pass


def _add(kind: str, model: Callable[..., Any]) -> None:
    row.call(model, name=f"{kind}_run")(_run)
    row.call(model, name=f"{kind}_run_async")(_run_async)
    row.call(lambda at: model(at, streaming_callback=_seen), name=f"{kind}_run_streamed")(_run)
    row.call(lambda at: model(at, streaming_callback=_awaited), name=f"{kind}_run_async_streamed")(_run_async)


_add("chat", chat)
_add("responses", responses)
row.call(agent, name="agent_run")(_run)
row.call(agent, name="agent_run_async")(_run_async)


@row.call(pipeline)
def pipeline_run(made: Pipeline) -> Any:
    return made.run({"model": {"messages": ASK}})


@row.call(embedder)
def embed(model: Any) -> Any:
    return model.run(text="Name a city.")
