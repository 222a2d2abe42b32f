"""Refusals inside pydantic-ai."""

from __future__ import annotations

from typing import Any

import openai
from pydantic_ai import Agent
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from refused_case import Case, refused_inside_async

ASK = "Name a city."


def model() -> OpenAIChatModel:
    return OpenAIChatModel("gpt-5-mini", provider=OpenAIProvider(openai_client=openai.AsyncOpenAI(max_retries=0)))


def agent(**options: Any) -> Agent[None, str]:
    return Agent(model(), **options)


async def streamed() -> None:
    async with agent().run_stream(ASK) as result:
        async for _ in result.stream_text():
            pass


async def iterated() -> None:
    async with agent().iter(ASK) as run:
        async for _ in run:
            pass


async def look_up(text: str) -> str:
    """Look something up."""
    return str(await refused_inside_async(lambda: agent().run(text)))


async def validated() -> None:
    asked = agent(retries=3)
    asked.output_validator(look_up)
    await asked.run(ASK)


CASES = [
    Case("in a turn: ", lambda: agent().run(ASK)),
    Case("in a turn: ", lambda: agent().run_sync(ASK)),
    Case("in a turn: ", streamed),
    Case("in a turn: ", iterated),
    Case("in a tool, or an output validator", lambda: agent(tools=[look_up], retries=3).run(ASK), cap=1),
    Case("in a tool, or an output validator", validated, cap=1),
    Case("in a `FallbackModel` ", lambda: Agent(FallbackModel(model(), model())).run(ASK)),
    Case(
        "in a `FallbackModel` with `fallback_on=(Exception,)`",
        lambda: Agent(FallbackModel(model(), model(), fallback_on=(Exception,))).run(ASK),
        refused=2,
        becomes="FallbackExceptionGroup",
    ),
]
