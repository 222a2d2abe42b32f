"""any-llm over the OpenAI and Anthropic SDKs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import any_llm
from table import Row

if TYPE_CHECKING:
    from budgeted.testing import SimulatedProvider

row = Row()

MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": "Name a city."}]
AT: dict[str, Any] = {"api_key": "any", "client_args": {"max_retries": 0}}


def gpt(provider: SimulatedProvider) -> dict[str, Any]:
    return {"model": "gpt-5-mini", "provider": "openai", "api_base": provider.openai_url, **AT}


def claude(provider: SimulatedProvider) -> dict[str, Any]:
    at = {"model": "claude-haiku-4-5", "provider": "anthropic", "api_base": provider.anthropic_url}
    return {**at, "max_tokens": 500, **AT}


def embedding_model(provider: SimulatedProvider) -> dict[str, Any]:
    return {**gpt(provider), "model": "text-embedding-3-small"}


def _completion(at: dict[str, Any]) -> Any:
    return any_llm.completion(**at, messages=MESSAGES)


async def _acompletion(at: dict[str, Any]) -> Any:
    return await any_llm.acompletion(**at, messages=MESSAGES)


def _stream(at: dict[str, Any]) -> Any:
    return any_llm.completion(**at, messages=MESSAGES, stream=True)


def _astream(at: dict[str, Any]) -> Any:
    return any_llm.acompletion(**at, messages=MESSAGES, stream=True)


for client in (gpt, claude):
    row.call(client, name=f"{client.__name__}_completion")(_completion)
    row.call(client, name=f"{client.__name__}_acompletion")(_acompletion)
    row.stream(client, name=f"{client.__name__}_stream")(_stream)
    row.stream(async_client=client, name=f"{client.__name__}_astream")(_astream)


@row.call(gpt)
def responses(at: dict[str, Any]) -> Any:
    return any_llm.responses(**at, input_data="Name a city.")


@row.call(embedding_model)
def embed(at: dict[str, Any]) -> Any:
    return any_llm.embedding(**at, inputs="Name a city.")
