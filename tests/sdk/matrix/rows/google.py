"""Google's Gen AI SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google import genai
from table import Row

if TYPE_CHECKING:
    from budgeted.testing import SimulatedProvider

row = Row()

MODEL = "gemini-2.5-flash"
ASK: dict[str, Any] = {"model": MODEL, "contents": "Name a city."}


def plain(provider: SimulatedProvider) -> genai.Client:
    return genai.Client(api_key="any", http_options={"base_url": provider.google_url})


def beside(provider: SimulatedProvider) -> Any:
    return plain(provider).aio


@row.call(plain, beside)
def generate(client: Any) -> Any:
    return client.models.generate_content(**ASK)


@row.call(plain, beside)
def chat(client: Any) -> Any:
    return client.chats.create(model=MODEL).send_message("Name a city.")


@row.stream(plain, beside)
def generate_stream(client: Any) -> Any:
    return client.models.generate_content_stream(**ASK)
