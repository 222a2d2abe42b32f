"""LlamaIndex over the OpenAI SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pydantic
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai import OpenAI, OpenAIResponses
from table import Row

if TYPE_CHECKING:
    from budgeted.testing import SimulatedProvider

row = Row()

ASK = [ChatMessage(role="user", content="Name a city.")]


class City(pydantic.BaseModel):
    """What is asked for in structured answers."""

    name: str


def chat_model(provider: SimulatedProvider) -> Any:
    return OpenAI(model="gpt-5-mini", api_base=provider.openai_url, api_key="any", max_retries=0)


def responses_model(provider: SimulatedProvider) -> Any:
    return OpenAIResponses(model="gpt-5-mini", api_base=provider.openai_url, api_key="any", max_retries=0)


def _chat(model: Any) -> Any:
    return model.chat(ASK)


async def _achat(model: Any) -> Any:
    return await model.achat(ASK)


def _complete(model: Any) -> Any:
    return model.complete("Name a city.")


def _structured(model: Any) -> Any:
    return model.as_structured_llm(City).chat(ASK)


def _stream_chat(model: Any) -> Any:
    return model.stream_chat(ASK)


def _astream_chat(model: Any) -> Any:
    return model.astream_chat(ASK)


for kind, client in (("chat", chat_model), ("responses", responses_model)):
    row.call(client, name=f"{kind}_chat")(_chat)
    row.call(client, name=f"{kind}_achat")(_achat)
    row.call(client, name=f"{kind}_complete")(_complete)
    row.call(client, name=f"{kind}_structured")(_structured)
    row.stream(client, name=f"{kind}_stream")(_stream_chat)
    row.stream(async_client=client, name=f"{kind}_astream")(_astream_chat)
