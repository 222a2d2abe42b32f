"""Refusals inside CrewAI."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")
os.environ.setdefault("CREWAI_DISABLE_TRACKING", "true")
os.environ.setdefault("CREWAI_TRACING_ENABLED", "false")

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool
from refused_case import SWALLOWED, Case, refused_inside


def llm() -> Any:
    return LLM(model="openai/gpt-5-mini", max_retries=0)


def crew(**options: Any) -> Crew:
    agent = Agent(role="Geographer", goal="Name cities.", backstory="Travelled.", llm=llm(), **options)
    return Crew(agents=[agent], tasks=[Task(description="Name a city.", expected_output="A city.", agent=agent)])


@tool("research")
def research(topic: str) -> str:
    """Look something up."""
    return str(refused_inside(lambda: llm().call(topic)))


CASES = [
    Case("in `LLM.call`", lambda: llm().call("Name a city.")),
    Case("in a task: ", lambda: crew().kickoff(), refused=3),
    Case("in a task: ", lambda: crew().akickoff(), refused=3),
    Case("in a task: ", lambda: crew().kickoff_for_each(inputs=[{"name": "city"}]), refused=3),
    Case("in a task of an agent with `max_retry_limit=0`", lambda: crew(max_retry_limit=0).kickoff()),
    Case("in a tool ", lambda: crew(tools=[research]).kickoff(), becomes=SWALLOWED, cap=1),
]
