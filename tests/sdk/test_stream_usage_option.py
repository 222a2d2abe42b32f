"""A stream is asked to say what it used, unless its caller or its endpoint will not have it: then it is an estimate."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import litellm
import openai
import pytest
from litellm_marks import MARKS
from paying import MESSAGES

import budgeted
from budgeted.testing import Reply, Request
from budgeted.wire.request_formats import stream_usage_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paying import Paying

    from budgeted.testing import SimulatedProvider

pytestmark = MARKS

CHAT: dict[str, Any] = {"model": "gpt-5-mini", "messages": MESSAGES, "stream": True}
UNLISTED: dict[str, Any] = {**CHAT, "model": "of-no-list"}  # LiteLLM takes what it knows of OpenAI's for OpenAI's
PROMPT: dict[str, Any] = {"model": "gpt-3.5-turbo-instruct", "prompt": "Once upon a time", "stream": True}
REFUSALS = {
    "openai": (400, "Unrecognized request argument supplied: stream_options"),
    "groq": (400, "property 'stream_options' is unsupported, did you mean 'stream'?"),
    "by its part": (400, "include_usage: Extra inputs are not permitted"),
    "schema": (422, "body.stream_options: Extra inputs are not permitted"),
}
"""As OpenAI-like servers say it: https://github.com/Pythagora-io/gpt-pilot/issues/1022 and
https://github.com/vercel/ai/pull/1578; the last two in the manner of pydantic."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    litellm.suppress_debug_info = True
    litellm.in_memory_llm_clients_cache.flush_cache()
    budgeted.register_price("openrouter/of-no-list", input=2, output=8, max_output_tokens=128_000)
    yield
    stream_usage_option.refusing.clear()  # a later provider may listen where one of these did
    gc.collect()


def _openai(provider: SimulatedProvider, **more: Any) -> list[Any]:
    with openai.OpenAI(base_url=provider.openai_url, api_key="any", max_retries=0) as client:
        return list(client.chat.completions.create(**CHAT, **more))


def _openai_completions(provider: SimulatedProvider, **more: Any) -> list[Any]:
    with openai.OpenAI(base_url=provider.openai_url, api_key="any", max_retries=0) as client:
        return list(client.completions.create(**PROMPT, **more))


def _openai_raw(provider: SimulatedProvider, **more: Any) -> list[Any]:
    with openai.OpenAI(base_url=provider.openai_url, api_key="any", max_retries=0) as client:
        return list(client.chat.completions.with_raw_response.create(**CHAT, **more).parse())


def _openai_async(provider: SimulatedProvider, **more: Any) -> list[Any]:
    async def ask() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="any", max_retries=0) as client:
            return [chunk async for chunk in await client.chat.completions.create(**CHAT, **more)]

    return asyncio.run(ask())


def _openai_completions_async(provider: SimulatedProvider, **more: Any) -> list[Any]:
    async def ask() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="any", max_retries=0) as client:
            return [chunk async for chunk in await client.completions.create(**PROMPT, **more)]

    return asyncio.run(ask())


def _at(provider: SimulatedProvider, prefix: str, request: dict[str, Any]) -> dict[str, Any]:
    to = {"api_base": provider.openai_url, "api_key": "any", "max_retries": 0}
    return {**request, **to, "model": f"{prefix}/{request['model']}"}


def _litellm(provider: SimulatedProvider, **more: Any) -> list[Any]:
    return list(litellm.completion(**_at(provider, "openai", CHAT), **more))


def _litellm_by_its_own_client(provider: SimulatedProvider, **more: Any) -> list[Any]:
    return list(litellm.completion(**_at(provider, "openrouter", UNLISTED), **more))


def _litellm_completions(provider: SimulatedProvider, **more: Any) -> list[Any]:
    return list(litellm.text_completion(**_at(provider, "text-completion-openai", PROMPT), **more))


def _litellm_completions_async(provider: SimulatedProvider, **more: Any) -> list[Any]:
    async def ask() -> list[Any]:
        to = _at(provider, "text-completion-openai", PROMPT)
        return [chunk async for chunk in await litellm.atext_completion(**to, **more)]

    return asyncio.run(ask())


def _litellm_async(provider: SimulatedProvider, **more: Any) -> list[Any]:
    async def ask() -> list[Any]:
        return [chunk async for chunk in await litellm.acompletion(**_at(provider, "openai", CHAT), **more)]

    return asyncio.run(ask())


def _litellm_by_its_own_client_async(provider: SimulatedProvider, **more: Any) -> list[Any]:
    async def ask() -> list[Any]:
        return [chunk async for chunk in await litellm.acompletion(**_at(provider, "openrouter", UNLISTED), **more)]

    return asyncio.run(ask())


WAYS = [
    _openai,
    _openai_raw,
    _openai_completions,
    _openai_async,
    _openai_completions_async,
    _litellm,
    _litellm_by_its_own_client,
    _litellm_completions,
    _litellm_completions_async,
    _litellm_async,
    _litellm_by_its_own_client_async,
]
each_way = pytest.mark.parametrize("ask", WAYS, ids=lambda ask: ask.__name__.strip("_"))


def _refusing(status: int = 400, message: str = REFUSALS["openai"][1], then: Reply | None = None) -> Any:
    """Answers as an endpoint that will not have the option; and ``then`` as told."""

    def answer(request: Request) -> Reply | None:
        return Reply(status=status, message=message) if "stream_options" in request.body else then

    return answer


def _usage_in(chunks: list[Any]) -> list[Any]:
    """LiteLLM's completions have one of zeros in every chunk."""
    found = [getattr(chunk, "usage", None) for chunk in chunks]
    return [usage for usage in found if usage is not None and usage.total_tokens]


@each_way
def test_an_endpoint_that_refuses_to_be_asked_is_asked_once(
    ask: Callable[..., list[Any]], payer: Paying, provider: SimulatedProvider
) -> None:
    provider.reply(_refusing())
    with payer.block() as block:
        assert ask(provider)
        assert block.calls == 1
        first, second = provider.requests
        assert first.body["stream_options"] == {"include_usage": True}
        assert second.body == {name: value for name, value in first.body.items() if name != "stream_options"}
        assert ask(provider)
    assert len(provider.requests) == 3
    payer.guessed(calls=2)
    assert payer.spent >= provider.billed_nano() > 0


@pytest.mark.parametrize("refusal", REFUSALS)
def test_it_may_refuse_in_its_own_words(refusal: str, payer: Paying, provider: SimulatedProvider) -> None:
    provider.reply(_refusing(*REFUSALS[refusal]))
    with payer.block():
        assert _openai(provider)
    assert len(provider.requests) == 2


@each_way
def test_the_caller_sees_only_what_became_of_the_second_request(
    ask: Callable[..., list[Any]], payer: Paying, provider: SimulatedProvider
) -> None:
    provider.reply(_refusing(then=Reply(status=403, message="No such luck.")))
    with payer.block(), pytest.raises(Exception, match="No such luck") as raised:
        ask(provider)
    cause: BaseException | None = raised.value
    while cause is not None:
        assert "stream_options" not in str(cause)
        cause = cause.__cause__ or cause.__context__
    assert len(provider.requests) == 2
    assert payer.spent == 0
    provider.reply()
    with payer.block():
        ask(provider)
    assert "stream_options" in provider.requests[-1].body  # who did not take it without is not known to refuse it


@each_way
def test_a_second_request_that_gets_no_answer_is_charged(
    ask: Callable[..., list[Any]], payer: Paying, provider: SimulatedProvider
) -> None:
    provider.reply(_refusing(then=Reply(drop=True)))
    with payer.block(), pytest.raises(Exception, match=r".+"):
        ask(provider)
    assert payer.manager.uncertain()  # LiteLLM's own client repeats it, which is a charge of its own
    assert payer.spent >= provider.billed_nano() > 0


@each_way
def test_what_is_refused_for_another_reason_is_sent_once(
    ask: Callable[..., list[Any]], payer: Paying, provider: SimulatedProvider
) -> None:
    provider.reply(status=400, message="This model does not exist.")
    with payer.block(), pytest.raises(Exception, match="does not exist"):
        ask(provider)
    assert len(provider.requests) == 1
    assert payer.spent == 0


@each_way
def test_a_caller_who_asks_sees_the_refusal(
    ask: Callable[..., list[Any]], payer: Paying, provider: SimulatedProvider
) -> None:
    provider.reply(_refusing())
    with payer.block(), pytest.raises(Exception, match="stream_options"):
        ask(provider, stream_options={"include_usage": True})
    assert len(provider.requests) == 1
    assert payer.spent == 0


@each_way
def test_a_callers_no_stands_and_makes_an_estimate(
    ask: Callable[..., list[Any]], payer: Paying, provider: SimulatedProvider
) -> None:
    with payer.block():
        chunks = ask(provider, stream_options={"include_usage": False})
    assert _usage_in(chunks) == []
    (request,) = provider.requests
    assert request.body["stream_options"] == {"include_usage": False}
    payer.guessed()
    assert payer.spent >= provider.billed_nano() > 0


@each_way
def test_a_caller_who_says_nothing_sees_no_usage_and_pays_exactly(
    ask: Callable[..., list[Any]], payer: Paying, provider: SimulatedProvider
) -> None:
    with payer.block():
        chunks = ask(provider)
    assert _usage_in(chunks) == []
    payer.agrees()


@pytest.mark.parametrize(
    "host", ["cerebras", "deepinfra", "featherless_ai", "fireworks_ai", "hyperbolic", "nvidia_nim"]
)
def test_litellm_passes_it_to_all_who_speak_like_openai(host: str, payer: Paying, provider: SimulatedProvider) -> None:
    budgeted.register_price(f"{host}/of-no-list", input=2, output=8, max_output_tokens=128_000)
    with payer.block():
        chunks = list(litellm.completion(**_at(provider, host, UNLISTED), allowed_openai_params=["seed"], seed=1))
        assert _usage_in(chunks) == []
        assert list(litellm.completion(**_at(provider, host, UNLISTED), stream_options={"include_usage": False}))
    assert provider.requests[0].body["stream_options"] == {"include_usage": True}
    assert provider.requests[0].body["seed"] == 1
    assert not provider.requests[1].body.get("stream_options", {}).get("include_usage")
    (charge,) = payer.guessed()
    assert payer.spent - round(charge.cost * 1e9) == provider.bill[0].nano_usd
