"""Middleware of the Anthropic SDK may send a call's request again, or to another model, or not at all."""

from __future__ import annotations

import asyncio
import importlib
import json
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from anthropic.lib.middleware import BetaRefusalFallbackMiddleware
from paying import MESSAGES

from budgeted import BudgetExceededError

if TYPE_CHECKING:
    from collections.abc import Callable

    from paying import Paying

# The models are on the way out, and their prices well known.
pytestmark = [pytest.mark.sdk, pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")]

http = importlib.import_module(anthropic.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])

ASK: dict[str, Any] = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": MESSAGES}
OTHER = "claude-haiku-4-5"
OF_REFUSED, OF_OTHER = 100 * 3_000 + 10 * 15_000, 100 * 1_000 + 20 * 5_000
"""Nano-USD of what `Provider` says, at $3 and $15, and at $1 and $5 per million tokens."""


class Provider:
    """Answers as one whose first model refuses whatever it is asked, and bills for it."""

    def __init__(self) -> None:
        self.models: list[str] = []

    def answer(self, request: Any) -> Any:
        body = json.loads(request.content)
        model = body["model"]
        self.models.append(model)
        refused = model != OTHER
        message = {
            "id": f"msg_{len(self.models)}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [] if refused or body.get("stream") else [{"type": "text", "text": "Fine."}],
            "stop_reason": None if body.get("stream") else "refusal" if refused else "end_turn",
            "usage": {"input_tokens": 100, "output_tokens": 10 if refused else 20},
        }
        if not body.get("stream"):
            return http.Response(200, json=message)
        text = [
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Fine."}},
            {"type": "content_block_stop", "index": 0},
        ]
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": {**message, "usage": {"input_tokens": 100, "output_tokens": 1}}},
            *([] if refused else text),
            {
                "type": "message_delta",
                "delta": {"stop_reason": "refusal" if refused else "end_turn"},
                "usage": {"output_tokens": 10 if refused else 20},
            },
            {"type": "message_stop"},
        ]
        sse = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
        return http.Response(200, headers={"content-type": "text/event-stream"}, stream=http.ByteStream(sse.encode()))

    async def answer_async(self, request: Any) -> Any:
        return self.answer(request)


def _client(provider: Provider, *middleware: Any) -> anthropic.Anthropic:
    sends = http.Client(transport=http.MockTransport(provider.answer))
    return anthropic.Anthropic(api_key="any", max_retries=0, http_client=sends, middleware=middleware)


def _async_client(provider: Provider, *middleware: Any) -> anthropic.AsyncAnthropic:
    sends = http.AsyncClient(transport=http.MockTransport(provider.answer_async))
    return anthropic.AsyncAnthropic(api_key="any", max_retries=0, http_client=sends, middleware=middleware)


def _falls_back() -> BetaRefusalFallbackMiddleware:
    return BetaRefusalFallbackMiddleware([{"model": OTHER}])


def _twice(request: Any, call_next: Callable[[Any], Any]) -> Any:
    call_next(request)
    return call_next(request)


def _elsewhere(request: Any, call_next: Callable[[Any], Any]) -> Any:
    return call_next(request.copy(body={**request.json, "model": OTHER}))


def _remembers(request: Any, call_next: Callable[[Any], Any]) -> Any:
    return "what was answered before"


def _is_whole(payer: Paying, calls: int, nano_usd: int) -> None:
    assert payer.spent == nano_usd
    assert payer.charges() == calls
    assert payer.manager.uncertain() == []


def test_a_refusal_and_the_answer_of_the_model_it_falls_back_to_are_charged(payer: Paying) -> None:
    provider = Provider()
    with _client(provider, _falls_back()) as client, payer.block() as block:
        assert client.beta.messages.create(**ASK).model == OTHER
    assert provider.models == [ASK["model"], OTHER]
    assert block.calls == 2
    _is_whole(payer, 2, OF_REFUSED + OF_OTHER)


def test_so_they_are_for_a_coroutine(payer: Paying) -> None:
    async def ask() -> None:
        async with _async_client(Provider(), _falls_back()) as client:
            with payer.block():
                assert (await client.beta.messages.create(**ASK)).model == OTHER

    asyncio.run(ask())
    _is_whole(payer, 2, OF_REFUSED + OF_OTHER)


def test_a_stream_that_falls_back_is_charged_to_whoever_asked(payer: Paying) -> None:
    with _client(Provider(), _falls_back()) as client:
        with payer.block("alice"):
            stream = client.beta.messages.create(**ASK, stream=True)
        with payer.block("bob"):
            assert "Fine." in str(list(stream))
    _is_whole(payer, 2, OF_REFUSED + OF_OTHER)
    assert {user: row.calls for user, row in payer.manager.report("user").items()} == {"alice": 2}


def test_so_it_is_for_a_coroutine(payer: Paying) -> None:
    async def ask() -> None:
        async with _async_client(Provider(), _falls_back()) as client:
            with payer.block("alice"):
                stream = await client.beta.messages.create(**ASK, stream=True)
            with payer.block("bob"):
                assert "Fine." in str([event async for event in stream])

    asyncio.run(ask())
    _is_whole(payer, 2, OF_REFUSED + OF_OTHER)
    assert {user: row.calls for user, row in payer.manager.report("user").items()} == {"alice": 2}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_fallback_that_does_not_fit_is_not_sent(stream: bool, paying: Callable[..., Paying]) -> None:
    payer = paying(max_budget="0.003", wait=0)
    provider = Provider()
    dear = BetaRefusalFallbackMiddleware([{"model": "claude-opus-4-1"}])
    with _client(provider, dear) as client, payer.block():
        if stream:
            list(client.beta.messages.create(**ASK, stream=True))  # the SDK shows the refusal that it has
        else:
            with pytest.raises(BudgetExceededError):
                client.beta.messages.create(**ASK)
    assert provider.models == [ASK["model"]]
    _is_whole(payer, 1, OF_REFUSED)


def test_each_time_that_middleware_of_ones_own_sends_is_charged(payer: Paying) -> None:
    with _client(Provider(), _twice) as client, payer.block():
        client.messages.create(**ASK)
        client.with_options(middleware=[_twice, _elsewhere]).messages.create(**ASK)
    _is_whole(payer, 4, 2 * OF_REFUSED + 2 * OF_OTHER)


def test_what_middleware_answers_by_itself_costs_nothing(payer: Paying) -> None:
    provider = Provider()
    with _client(provider, _remembers) as client, payer.block() as block:
        assert client.messages.create(**ASK) == "what was answered before"
    assert provider.models == []
    assert block.calls == payer.spent == 0


def test_middleware_that_only_looks_on_changes_nothing(payer: Paying) -> None:
    class Looks(anthropic.Middleware):
        def handle(self, request: Any, call_next: Any) -> Any:
            return call_next(request)

    with _client(Provider(), Looks()) as client, payer.block() as block:
        client.messages.create(**ASK)
        client.messages.with_raw_response.create(**ASK)
        list(client.messages.create(**ASK, stream=True))
        with client.messages.stream(**ASK) as stream:
            stream.until_done()
    assert block.calls == 4
    _is_whole(payer, 4, 4 * OF_REFUSED)


def test_a_refused_attempt_costs_nothing_and_one_that_broke_is_uncertain(payer: Paying) -> None:
    answers = iter([http.Response(503), http.ReadTimeout("too slow"), http.Response(429)])

    def answer(request: Any) -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    sends = http.Client(transport=http.MockTransport(answer))
    with (
        anthropic.Anthropic(api_key="any", max_retries=0, http_client=sends, middleware=[_elsewhere]) as client,
        payer.block(),
    ):
        for error in (anthropic.APIStatusError, anthropic.APITimeoutError, anthropic.RateLimitError):
            with pytest.raises(error):
                client.messages.create(**ASK)
    payer.guessed()
