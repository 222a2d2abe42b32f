"""The Mistral SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mistralai.client import Mistral
from table import Row

if TYPE_CHECKING:
    from budgeted.testing import SimulatedProvider

row = Row()

ASK: dict[str, Any] = {"model": "mistral-large-latest", "messages": [{"role": "user", "content": "Name a city."}]}


def plain(provider: SimulatedProvider) -> Mistral:
    return Mistral(api_key="any", server_url=provider.mistral_url)


@row.call(plain)
def complete(client: Mistral) -> Any:
    return client.chat.complete(**ASK)


@row.call(plain)
async def complete_async(client: Mistral) -> Any:
    return await client.chat.complete_async(**ASK)


@row.stream(plain)
def stream(client: Mistral) -> Any:
    return client.chat.stream(**ASK)


def stream_async(client: Mistral) -> Any:
    return client.chat.stream_async(**ASK)


row.stream(async_client=plain)(stream_async)
