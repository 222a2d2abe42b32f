"""Refusals inside Agno."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("AGNO_TELEMETRY", "false")

from agno.agent import Agent
from agno.models.openai import OpenAIChat
from agno.team import Team
from refused_case import SWALLOWED, Case, refused_inside

ASK = "Name a city."


def model() -> OpenAIChat:
    return OpenAIChat(id="gpt-5-mini", max_retries=0)


def agent(**options: Any) -> Agent:
    return Agent(model=model(), telemetry=False, **options)


def run(asked: Any, status: str) -> None:
    assert asked.run(ASK).status.name == status


async def run_async() -> None:
    assert (await agent().arun(ASK)).status.name == "error"


def streamed() -> None:
    *_, last = agent().run(ASK, stream=True)
    assert type(last).__name__ == "RunErrorEvent"


def research(topic: str) -> str:
    """Look something up."""
    return str(refused_inside(lambda: agent().run(topic)).content)


CASES = [
    Case("in an agent: ", lambda: run(agent(), "error"), becomes=SWALLOWED),
    Case("in an agent: ", run_async, becomes=SWALLOWED),
    Case("in a stream of it", streamed, becomes=SWALLOWED),
    Case(
        "in an agent with `retries=2`",
        lambda: run(agent(retries=2, delay_between_retries=0), "error"),
        refused=3,
        becomes=SWALLOWED,
    ),
    Case(
        "in a team",
        lambda: run(Team(members=[agent(name="member")], model=model(), telemetry=False), "error"),
        becomes=SWALLOWED,
    ),
    Case("in a tool ", lambda: run(agent(tools=[research]), "completed"), becomes=SWALLOWED, cap=1),
]
