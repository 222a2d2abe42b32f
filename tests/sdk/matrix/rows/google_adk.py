"""Google's Agent Development Kit, over Google's SDK and over LiteLLM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litellm as lite
from google.adk.agents import LlmAgent
from google.adk.agents.run_config import RunConfig, StreamingMode
from google.adk.models import Gemini
from google.adk.models.lite_llm import LiteLlm
from google.adk.runners import InMemoryRunner
from google.genai import types
from table import Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.adk.models import BaseLlm

    from budgeted.testing import SimulatedProvider

row = Row()

ASK = types.UserContent(parts=[types.Part(text="Name a city.")])


def _runner(model: BaseLlm) -> InMemoryRunner:
    return InMemoryRunner(agent=LlmAgent(name="geographer", model=model), app_name="cities")


def gemini(provider: SimulatedProvider) -> InMemoryRunner:
    options = {"api_key": "any", "vertexai": False}
    return _runner(Gemini(model="gemini-2.5-flash", base_url=provider.google_url, client_kwargs=options))


def litellm(provider: SimulatedProvider) -> InMemoryRunner:
    lite.in_memory_llm_clients_cache.flush_cache()  # its clients belong to the event loop of another cell
    return _runner(LiteLlm("openai/gpt-5-mini", api_base=provider.openai_url, api_key="any", max_retries=0))


def _ask(runner: InMemoryRunner, session: Any, mode: StreamingMode) -> AsyncIterator[Any]:
    config = RunConfig(streaming_mode=mode)
    return runner.run_async(user_id="alice", session_id=session.id, new_message=ASK, run_config=config)


async def _run(runner: InMemoryRunner) -> list[Any]:
    session = await runner.session_service.create_session(app_name=runner.app_name, user_id="alice")
    return [event async for event in _ask(runner, session, StreamingMode.NONE)]


async def _run_streamed(runner: InMemoryRunner) -> AsyncIterator[Any]:
    session = await runner.session_service.create_session(app_name=runner.app_name, user_id="alice")
    async for event in _ask(runner, session, StreamingMode.SSE):
        yield event


for client in (gemini, litellm):
    row.call(client, name=f"{client.__name__}_run")(_run)
    row.stream(client, name=f"{client.__name__}_run_streamed")(_run_streamed)
