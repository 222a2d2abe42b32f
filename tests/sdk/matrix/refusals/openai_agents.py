"""Refusals inside the OpenAI Agents SDK."""

from __future__ import annotations

from typing import Any

import openai
from agents import (
    Agent,
    GuardrailFunctionOutput,
    ModelRetrySettings,
    ModelSettings,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    input_guardrail,
    retry_policies,
    set_tracing_disabled,
)
from refused_case import SWALLOWED, Case, refused_inside_async

from budgeted import budget, get_manager

set_tracing_disabled(disabled=True)

ASK = "Name a city."


def agent(name: str = "agent", **options: Any) -> Agent[Any]:
    model = OpenAIResponsesModel(model="gpt-5-mini", openai_client=openai.AsyncOpenAI(max_retries=0))
    return Agent(name=name, model=model, **options)


async def streamed() -> None:
    async for _ in Runner.run_streamed(agent(), ASK).stream_events():
        pass


async def handed_off() -> None:
    get_manager().set_limits("one call", "1 calls")
    async with budget("one call"):
        await Runner.run(agent(handoffs=[agent("other")]), ASK)


async def retrying(policy: Any) -> None:
    settings = ModelSettings(retry=ModelRetrySettings(max_retries=2, policy=policy))
    await Runner.run(agent(model_settings=settings), ASK)


@input_guardrail
async def is_about_cities(_: Any, __: Agent[Any], asked: Any) -> GuardrailFunctionOutput:
    await refused_inside_async(lambda: Runner.run(agent(), asked))
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered=False)


async def with_tool(**options: Any) -> None:
    @function_tool(**options)
    async def research(topic: str) -> str:
        """Look something up."""
        return str(await refused_inside_async(lambda: Runner.run(agent(), topic)))

    await Runner.run(agent(tools=[research]), ASK)


CASES = [
    Case("in a turn: ", lambda: Runner.run(agent(), ASK)),
    Case("in a turn: ", lambda: Runner.run_sync(agent(), ASK)),
    Case("in a turn: ", streamed),
    Case("in a turn after a handoff", handed_off, cap=1),
    Case("in an agent with `ModelSettings(retry=...)`", lambda: retrying(retry_policies.network_error())),
    Case("in one whose retry policy takes every error", lambda: retrying(lambda _: True), refused=3),
    Case("in a guardrail", lambda: Runner.run(agent(input_guardrails=[is_about_cities]), ASK), cap=1),
    Case("in a tool ", with_tool, becomes=SWALLOWED, cap=1),
    Case(
        "in a tool with `failure_error_function=None`",
        lambda: with_tool(failure_error_function=None),
        becomes="UserError",
        cap=1,
    ),
]
