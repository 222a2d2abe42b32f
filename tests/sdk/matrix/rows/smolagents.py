"""smolagents over the OpenAI SDK and over LiteLLM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smolagents import ChatMessage, LiteLLMModel, MessageRole, OpenAIModel, ToolCallingAgent
from table import Row

if TYPE_CHECKING:
    from budgeted.testing import SimulatedProvider

row = Row()

ASK = "Name a city."
MESSAGES = [ChatMessage(role=MessageRole.USER, content=ASK)]


def openai(provider: SimulatedProvider) -> OpenAIModel:
    url = provider.openai_url
    return OpenAIModel("gpt-5-mini", api_base=url, api_key="any", client_kwargs={"max_retries": 0}, retry=False)


def litellm(provider: SimulatedProvider) -> LiteLLMModel:
    url = provider.openai_url
    return LiteLLMModel("openai/gpt-5-mini", api_base=url, api_key="any", num_retries=0, retry=False)


def agent(provider: SimulatedProvider) -> ToolCallingAgent:
    return ToolCallingAgent(tools=[], model=openai(provider), max_steps=1)


def _generate(model: Any) -> Any:
    return model.generate(MESSAGES)


def _generate_stream(model: Any) -> Any:
    return model.generate_stream(MESSAGES)


for client in (openai, litellm):
    row.call(client, name=f"{client.__name__}_generate")(_generate)
    row.stream(client, name=f"{client.__name__}_generate_stream")(_generate_stream)


@row.call(agent)
def agent_run(made: ToolCallingAgent) -> Any:
    return made.run(ASK)
