"""CrewAI, over the OpenAI SDK and over LiteLLM."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")
os.environ.setdefault("CREWAI_TRACING_ENABLED", "false")
os.environ.setdefault("OTEL_SDK_DISABLED", "true")

from crewai import LLM, Agent, Crew, Task
from table import Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from budgeted.testing import SimulatedProvider

row = Row()


def native(provider: SimulatedProvider, **options: Any) -> Any:
    return LLM(model="openai/gpt-5-mini", base_url=provider.openai_url, api_key="any", max_retries=0, **options)


def litellm(provider: SimulatedProvider, **options: Any) -> Any:
    return native(provider, is_litellm=True, **options)


def _crew(llm: Any) -> Any:
    agent = Agent(role="Geographer", goal="Name cities.", backstory="Travelled.", llm=llm, max_iter=1)
    return Crew(agents=[agent], tasks=[Task(description="Name a city.", expected_output="A city.", agent=agent)])


def _call(llm: Any) -> Any:
    return llm.call("Name a city.")


async def _acall(llm: Any) -> Any:
    return await llm.acall("Name a city.")


def _kickoff(crew: Any) -> Any:
    return crew.kickoff()


async def _akickoff(crew: Any) -> Any:
    return await crew.akickoff()


def _add(kind: str, model: Callable[..., Any]) -> None:
    def team(provider: SimulatedProvider) -> Any:
        return _crew(model(provider))

    def streamed(provider: SimulatedProvider) -> Any:
        return model(provider, stream=True)

    row.call(model, name=f"{kind}_call")(_call)
    row.call(model, name=f"{kind}_acall")(_acall)
    row.call(streamed, name=f"{kind}_call_streamed")(_call)
    row.call(team, name=f"{kind}_kickoff")(_kickoff)
    row.call(team, name=f"{kind}_akickoff")(_akickoff)


_add("native", native)
_add("litellm", litellm)
