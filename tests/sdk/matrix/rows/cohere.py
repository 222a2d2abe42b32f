"""The Cohere SDK, version 2 of its API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cohere
from table import Row

if TYPE_CHECKING:
    from budgeted.testing import SimulatedProvider

row = Row()

ASK: dict[str, Any] = {"model": "command-a-03-2025", "messages": [{"role": "user", "content": "Name a city."}]}


def plain(provider: SimulatedProvider) -> cohere.ClientV2:
    return cohere.ClientV2("any", base_url=provider.cohere_url, max_retries=0)


def beside(provider: SimulatedProvider) -> cohere.AsyncClientV2:
    return cohere.AsyncClientV2("any", base_url=provider.cohere_url, max_retries=0)


@row.call(plain, beside)
def chat(client: Any) -> Any:
    return client.chat(**ASK)


@row.stream(plain, beside)
def chat_stream(client: Any) -> Any:
    return client.chat_stream(**ASK)
