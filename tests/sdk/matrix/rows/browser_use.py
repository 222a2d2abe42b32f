"""The models of browser-use, without a browser, over the OpenAI, Anthropic and Google SDKs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

os.environ.setdefault("ANONYMIZED_TELEMETRY", "false")
os.environ.setdefault("BROWSER_USE_SETUP_LOGGING", "false")

import pydantic
from browser_use.llm.anthropic.chat import ChatAnthropic
from browser_use.llm.google.chat import ChatGoogle
from browser_use.llm.messages import UserMessage
from browser_use.llm.openai.chat import ChatOpenAI
from table import Row

if TYPE_CHECKING:
    from budgeted.testing import SimulatedProvider

row = Row()

ASK = [UserMessage(content="Name a city.")]


class City(pydantic.BaseModel):
    """What is asked for in structured answers."""

    name: str


def chat(provider: SimulatedProvider) -> ChatOpenAI:
    return ChatOpenAI(model="gpt-5-mini", base_url=provider.openai_url, api_key="any", max_retries=0)


def claude(provider: SimulatedProvider) -> ChatAnthropic:
    return ChatAnthropic(model="claude-haiku-4-5", base_url=provider.anthropic_url, api_key="any", max_retries=0)


def gemini(provider: SimulatedProvider) -> ChatGoogle:
    options: Any = {"base_url": provider.google_url}
    return ChatGoogle(model="gemini-2.5-flash", api_key="any", http_options=options, max_retries=1)


async def _ainvoke(model: Any) -> Any:
    return await model.ainvoke(ASK)


async def _ainvoke_structured(model: Any) -> Any:
    return await model.ainvoke(ASK, output_format=City)


for client in (chat, claude, gemini):
    row.call(client, name=f"{client.__name__}_ainvoke")(_ainvoke)

row.call(chat, name="structured_ainvoke")(_ainvoke_structured)
