"""LiteLLM fills in zeros where its provider says nothing: that is no call that cost nothing."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import litellm
import pytest
from litellm_marks import MARKS
from paying import MESSAGES

import budgeted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paying import Paying

    from budgeted.testing import SimulatedProvider

pytestmark = MARKS

CHAT: dict[str, Any] = {"model": "openai/gpt-5-mini", "messages": MESSAGES, "max_tokens": 500}
OTHERS: dict[str, Any] = {**CHAT, "model": "openrouter/of-no-list"}
PROMPT: dict[str, Any] = {"model": "text-completion-openai/gpt-3.5-turbo-instruct", "prompt": "Once", "max_tokens": 99}
PROMPT_OF_CHAT: dict[str, Any] = {"model": "openai/gpt-5-mini", "prompt": "Once", "max_tokens": 99}
EMBEDDING: dict[str, Any] = {"model": "openai/text-embedding-3-small", "input": ["Once"]}

ANSWERS: dict[str, Callable[..., Any]] = {
    "chat": lambda **to: litellm.completion(**CHAT, **to),
    "chat by its own client": lambda **to: litellm.completion(**OTHERS, **to),
    "chat in a coroutine": lambda **to: asyncio.run(litellm.acompletion(**CHAT, **to)),
    "text": lambda **to: litellm.text_completion(**PROMPT, **to),
    "text of chat": lambda **to: litellm.text_completion(**PROMPT_OF_CHAT, **to),
    "embedding": lambda **to: litellm.embedding(**EMBEDDING, **to),
    "stream": lambda **to: list(litellm.completion(**CHAT, stream=True, **to)),
    "stream by its own client": lambda **to: list(litellm.completion(**OTHERS, stream=True, **to)),
    "stream of text of chat": lambda **to: list(litellm.text_completion(**PROMPT_OF_CHAT, stream=True, **to)),
}
NOTHING = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    litellm.suppress_debug_info = True
    litellm.in_memory_llm_clients_cache.flush_cache()
    budgeted.register_price("openrouter/of-no-list", input=2, output=8, max_output_tokens=128_000)
    yield
    gc.collect()


@pytest.mark.parametrize("usage", [None, NOTHING], ids=["none", "zeros"])
@pytest.mark.parametrize("way", ANSWERS)
def test_an_answer_that_does_not_say_what_it_used_is_uncertain(
    way: str, usage: object, payer: Paying, provider: SimulatedProvider
) -> None:
    provider.reply(usage=usage)
    with payer.block():
        assert ANSWERS[way](api_base=provider.openai_url, api_key="any", max_retries=0)
    payer.guessed()
    assert payer.spent >= provider.billed_nano() > 0


@pytest.mark.parametrize("asked", [False, True], ids=["unasked", "asked"])
def test_a_stream_that_breaks_before_its_first_item_is_uncertain(
    asked: bool, payer: Paying, provider: SimulatedProvider
) -> None:
    provider.reply(drop=True)
    stream = {"stream": True, "stream_options": {"include_usage": asked}}
    with payer.block(), pytest.raises(Exception, match=r".+"):
        list(litellm.text_completion(**PROMPT, **stream, api_base=provider.openai_url, api_key="any", max_retries=0))
    payer.guessed()
    assert payer.spent >= provider.billed_nano() > 0
