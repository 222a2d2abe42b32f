"""The Anthropic SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import pydantic
from table import Row

if TYPE_CHECKING:
    from budgeted.testing import SimulatedProvider

row = Row()

ASK: dict[str, Any] = {
    "model": "claude-haiku-4-5",
    "max_tokens": 500,
    "messages": [{"role": "user", "content": "Name a city."}],
}


class City(pydantic.BaseModel):
    """What is asked for in structured answers."""

    name: str


def plain(provider: SimulatedProvider) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=provider.anthropic_url, api_key="any", max_retries=0)


def beside(provider: SimulatedProvider) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=provider.anthropic_url, api_key="any", max_retries=0)


@row.call(plain, beside)
def messages(client: Any) -> Any:
    return client.messages.create(**ASK)


@row.call(plain, beside)
def messages_parse(client: Any) -> Any:
    return client.messages.parse(**ASK, output_format=City)


@row.call(plain, beside)
def messages_raw(client: Any) -> Any:
    return client.messages.with_raw_response.create(**ASK)


@row.call(plain, beside)
def beta_messages(client: Any) -> Any:
    return client.beta.messages.create(**ASK)


@row.stream(plain, beside)
def messages_create_stream(client: Any) -> Any:
    return client.messages.create(**ASK, stream=True)


@row.stream(plain, beside)
def messages_stream(client: Any) -> Any:
    return client.messages.stream(**ASK)


@row.stream(plain)
def messages_stream_bytes(client: Any) -> Any:
    return client.messages.create(**ASK, stream=True).response.iter_bytes()
