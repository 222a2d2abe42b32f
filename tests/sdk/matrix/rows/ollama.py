"""The Ollama SDK, with a model that is not free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ollama
from table import Row

import budgeted

if TYPE_CHECKING:
    from budgeted.testing import SimulatedProvider

row = Row()

# As dear as the simulated provider has any model that it does not know.
MODEL = "llama-at-home"
INPUT, OUTPUT = 2, 8
ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Name a city."}]}

budgeted.register_price(MODEL, input=INPUT, output=OUTPUT, max_output_tokens=16_384, provider="ollama")


def plain(provider: SimulatedProvider) -> ollama.Client:
    return ollama.Client(provider.ollama_url)


def beside(provider: SimulatedProvider) -> ollama.AsyncClient:
    return ollama.AsyncClient(provider.ollama_url)


@row.call(plain, beside)
def chat(client: Any) -> Any:
    return client.chat(**ASK)


@row.call(plain, beside)
def generate(client: Any) -> Any:
    return client.generate(MODEL, "Name a city.")


@row.stream(plain, beside)
def chat_stream(client: Any) -> Any:
    return client.chat(**ASK, stream=True)
