"""Semantic Kernel over the OpenAI SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai.open_ai import (
    OpenAIChatCompletion,
    OpenAIChatPromptExecutionSettings,
    OpenAITextEmbedding,
)
from semantic_kernel.contents import ChatHistory
from table import Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from budgeted.testing import SimulatedProvider

row = Row()

ASK = "Name a city."
SETTINGS = OpenAIChatPromptExecutionSettings()


def _client(provider: SimulatedProvider) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=provider.openai_url, api_key="any", max_retries=0)


def chat(provider: SimulatedProvider) -> OpenAIChatCompletion:
    return OpenAIChatCompletion(ai_model_id="gpt-5-mini", async_client=_client(provider))


def embedder(provider: SimulatedProvider) -> OpenAITextEmbedding:
    return OpenAITextEmbedding(ai_model_id="text-embedding-3-small", async_client=_client(provider))


def agent(provider: SimulatedProvider) -> ChatCompletionAgent:
    return ChatCompletionAgent(service=chat(provider), name="geographer")


def _history() -> ChatHistory:
    history = ChatHistory()
    history.add_user_message(ASK)
    return history


@row.call(chat)
async def get_content(service: OpenAIChatCompletion) -> Any:
    return await service.get_chat_message_content(_history(), SETTINGS)


@row.stream(async_client=chat)
def get_streaming_content(service: OpenAIChatCompletion) -> Any:
    return service.get_streaming_chat_message_content(_history(), SETTINGS)


@row.call(agent)
async def agent_get_response(made: ChatCompletionAgent) -> Any:
    return await made.get_response(messages=ASK)


@row.stream(agent)
async def agent_invoke_stream(made: ChatCompletionAgent) -> AsyncIterator[Any]:
    async for item in made.invoke_stream(messages=ASK):
        yield item


@row.call(embedder)
async def embed(service: OpenAITextEmbedding) -> Any:
    return await service.generate_embeddings([ASK])
