"""The OpenAI SDK, and its client for Azure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pydantic
from table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from budgeted.testing import SimulatedProvider

row = Row()

MODEL = "gpt-5-mini"
ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Name a city."}]}


class City(pydantic.BaseModel):
    """What is asked for in structured answers."""

    name: str


def plain(provider: SimulatedProvider) -> openai.OpenAI:
    return openai.OpenAI(base_url=provider.openai_url, api_key="any", max_retries=0)


def beside(provider: SimulatedProvider) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=provider.openai_url, api_key="any", max_retries=0)


def azure(provider: SimulatedProvider) -> openai.AzureOpenAI:
    return openai.AzureOpenAI(azure_endpoint=provider.url, api_key="any", api_version="2026-01-01", max_retries=0)


def azure_beside(provider: SimulatedProvider) -> openai.AsyncAzureOpenAI:
    return openai.AsyncAzureOpenAI(azure_endpoint=provider.url, api_key="any", api_version="2026-01-01", max_retries=0)


@row.call(plain, beside)
def chat(client: Any) -> Any:
    return client.chat.completions.create(**ASK)


@row.call(plain, beside)
def chat_parse(client: Any) -> Any:
    return client.chat.completions.parse(**ASK, response_format=City)


@row.call(plain, beside)
def chat_raw(client: Any) -> Any:
    return client.chat.completions.with_raw_response.create(**ASK)


@row.call(plain, beside)
def responses(client: Any) -> Any:
    return client.responses.create(model=MODEL, input="Name a city.")


@row.call(plain, beside)
def responses_parse(client: Any) -> Any:
    return client.responses.parse(model=MODEL, input="Name a city.", text_format=City)


@row.call(plain, beside)
def completions(client: Any) -> Any:
    return client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Name a city.")


@row.call(plain, beside)
def embeddings(client: Any) -> Any:
    return client.embeddings.create(model="text-embedding-3-small", input="Name a city.")


@row.call(azure, azure_beside)
def azure_chat(client: Any) -> Any:
    return client.chat.completions.create(**ASK)


@row.stream(plain, beside)
def chat_stream(client: Any) -> Any:
    return client.chat.completions.create(**ASK, stream=True)


@row.stream(plain, beside)
def chat_stream_helper(client: Any) -> Any:
    return client.chat.completions.stream(**ASK)


@row.stream(plain)
def chat_stream_raw(client: Any) -> Any:
    return client.chat.completions.with_raw_response.create(**ASK, stream=True).parse()


@row.stream(plain)
def chat_stream_bytes(client: Any) -> Any:
    return client.chat.completions.create(**ASK, stream=True).response.iter_bytes()


@row.stream(plain)
def chat_stream_lines(client: Any) -> Iterator[str]:
    with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as response:
        yield from response.iter_lines()


@row.stream(plain, beside)
def responses_stream(client: Any) -> Any:
    return client.responses.create(model=MODEL, input="Name a city.", stream=True)


@row.stream(plain, beside)
def responses_stream_helper(client: Any) -> Any:
    return client.responses.stream(model=MODEL, input="Name a city.")


@row.stream(plain, beside)
def completions_stream(client: Any) -> Any:
    return client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Name a city.", stream=True)


@row.stream(azure, azure_beside)
def azure_chat_stream(client: Any) -> Any:
    return client.chat.completions.create(**ASK, stream=True)
