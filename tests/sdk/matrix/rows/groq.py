"""The Groq SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import groq
from table import Row

if TYPE_CHECKING:
    from budgeted.testing import SimulatedProvider

row = Row()

ASK: dict[str, Any] = {"model": "llama-3.3-70b-versatile", "messages": [{"role": "user", "content": "Name a city."}]}


def plain(provider: SimulatedProvider) -> groq.Groq:
    return groq.Groq(base_url=provider.groq_url, api_key="any", max_retries=0)


def beside(provider: SimulatedProvider) -> groq.AsyncGroq:
    return groq.AsyncGroq(base_url=provider.groq_url, api_key="any", max_retries=0)


@row.call(plain, beside)
def chat(client: Any) -> Any:
    return client.chat.completions.create(**ASK)


@row.call(plain, beside)
def chat_raw(client: Any) -> Any:
    return client.chat.completions.with_raw_response.create(**ASK)


@row.stream(plain, beside)
def chat_stream(client: Any) -> Any:
    return client.chat.completions.create(**ASK, stream=True)
