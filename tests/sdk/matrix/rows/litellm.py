"""LiteLLM, over the OpenAI SDK and over its own HTTP client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litellm
from table import Row

if TYPE_CHECKING:
    from budgeted.testing import SimulatedProvider

row = Row()

litellm.suppress_debug_info = True

MESSAGES = [{"role": "user", "content": "Name a city."}]


def _fresh() -> None:
    litellm.in_memory_llm_clients_cache.flush_cache()  # its clients belong to the event loop of another cell


def gpt(provider: SimulatedProvider) -> dict[str, Any]:
    _fresh()
    return {"model": "openai/gpt-5-mini", "max_retries": 0, "api_base": provider.openai_url, "api_key": "any"}


def claude(provider: SimulatedProvider) -> dict[str, Any]:
    _fresh()
    model = "anthropic/claude-haiku-4-5"
    return {"model": model, "max_tokens": 500, "api_base": provider.anthropic_url, "api_key": "any"}


def instruct(provider: SimulatedProvider) -> dict[str, Any]:
    _fresh()
    model = "text-completion-openai/gpt-3.5-turbo-instruct"
    return {"model": model, "api_base": provider.openai_url, "api_key": "any"}


def router(provider: SimulatedProvider) -> litellm.Router:
    return litellm.Router([{"model_name": "gpt-5-mini", "litellm_params": gpt(provider)}], num_retries=0)


def _completion(at: dict[str, Any]) -> Any:
    return litellm.completion(**at, messages=MESSAGES)


async def _acompletion(at: dict[str, Any]) -> Any:
    return await litellm.acompletion(**at, messages=MESSAGES)


def _stream(at: dict[str, Any]) -> Any:
    return litellm.completion(**at, messages=MESSAGES, stream=True)


def _astream(at: dict[str, Any]) -> Any:
    return litellm.acompletion(**at, messages=MESSAGES, stream=True)


for client in (gpt, claude):
    row.call(client, name=f"{client.__name__}_completion")(_completion)
    row.call(client, name=f"{client.__name__}_acompletion")(_acompletion)
    row.stream(client, name=f"{client.__name__}_stream")(_stream)
    row.stream(async_client=client, name=f"{client.__name__}_astream")(_astream)


@row.call(gpt)
def responses(at: dict[str, Any]) -> Any:
    return litellm.responses(**at, input="Name a city.")


@row.call(instruct)
def text_completion(at: dict[str, Any]) -> Any:
    return litellm.text_completion(**at, prompt="Name a city.")


@row.call(router)
def router_completion(made: litellm.Router) -> Any:
    return made.completion("gpt-5-mini", MESSAGES)


@row.call(router)
async def router_acompletion(made: litellm.Router) -> Any:
    return await made.acompletion("gpt-5-mini", MESSAGES)
