"""CrewAI over the OpenAI SDK."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")
os.environ.setdefault("CREWAI_TRACING_ENABLED", "false")
os.environ.setdefault("OTEL_SDK_DISABLED", "true")

from crewai import LLM, Agent, Crew, Task
from table import Row

if TYPE_CHECKING:
    from budgeted.testing import SimulatedProvider

row = Row()


def model(provider: SimulatedProvider) -> Any:
    return LLM(model="openai/gpt-5-mini", base_url=provider.openai_url, api_key="any", max_retries=0)


def crew(provider: SimulatedProvider) -> Any:
    agent = Agent(role="Geographer", goal="Name cities.", backstory="Travelled.", llm=model(provider), max_iter=1)
    task = Task(description="Name a city.", expected_output="A city.", agent=agent)
    return Crew(agents=[agent], tasks=[task])


@row.call(model)
def call(llm: Any) -> Any:
    return llm.call("Name a city.")


@row.call(crew)
def kickoff(team: Any) -> Any:
    return team.kickoff()
