"""One call, one charge, however many layers see it: decorated functions with SDK calls inside."""

from __future__ import annotations

import asyncio
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import openai
import pytest
import requests
from paying import MESSAGES

from budgeted import BudgetExceededError, register_price
from budgeted.errors import LedgerLockedError
from budgeted.testing import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from concurrent.futures import ThreadPoolExecutor

    from paying import Paying

    from budgeted.testing import SimulatedProvider

pytestmark = pytest.mark.sdk

MODEL = "gpt-5-mini"


def test_the_first_call_inside_takes_the_functions_hold_over(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider, pool: ThreadPoolExecutor
) -> None:
    @payer.manager.budgeted("alice")
    def ask(model: str, messages: list[Any]) -> Any:
        return chat.chat.completions.create(model=model, messages=messages)

    provider.queue(Reply(hang=True))
    asked = pool.submit(ask, MODEL, MESSAGES)
    assert provider.wait_parked()
    assert len(payer.manager.ledger.open_holds()) == 1
    provider.release()
    assert asked.result().choices
    ask(model=MODEL, messages=MESSAGES)
    payer.agrees(calls=2)


@pytest.mark.parametrize("budget", [100, "1.00"], ids=["plenty", "clamped"])
@pytest.mark.parametrize("stream", [False, True])
def test_whatever_the_budget_there_is_one_charge(
    budget: Any,
    stream: bool,
    paying: Callable[..., Paying],
    chat: openai.OpenAI,
    provider: SimulatedProvider,
) -> None:
    payer = paying(max_budget=budget)

    @payer.manager.budgeted("alice", cap=50)
    def ask(model: str, messages: list[Any]) -> Any:
        return chat.chat.completions.create(model=model, messages=messages, stream=stream)

    list(ask("gpt-5", MESSAGES))
    payer.agrees()
    body = provider.requests[0].body
    assert ("max_completion_tokens" in body) == (budget != 100)
    if budget != 100:
        assert body["max_completion_tokens"] == pytest.approx(25_000, rel=0.02)


def test_further_calls_inside_hold_for_themselves(payer: Paying, chat: openai.OpenAI) -> None:
    @payer.manager.budgeted("alice")
    def ask(model: str, messages: list[Any]) -> Any:
        chat.chat.completions.create(model=model, messages=messages)
        return chat.chat.completions.create(model=model, messages=messages)

    ask(MODEL, MESSAGES)
    payer.agrees(calls=2)


def test_another_call_inside_than_the_function_announced_holds_for_itself(payer: Paying, chat: openai.OpenAI) -> None:
    @payer.manager.budgeted("alice")
    def ask(model: str, messages: list[Any]) -> Any:
        longer = [*messages, {"role": "user", "content": "x" * 5000}]
        return chat.chat.completions.create(model=model, messages=longer)

    @payer.manager.budgeted("alice")
    def elsewhere(model: str, messages: list[Any]) -> Any:
        return chat.chat.completions.create(model="gpt-4o", messages=messages, max_tokens=len(model))

    ask(MODEL, MESSAGES)
    elsewhere(MODEL, MESSAGES)
    payer.agrees(calls=2)


def test_a_call_inside_that_may_search_holds_for_itself_what_the_function_did_not_count(
    payer: Paying, provider: SimulatedProvider
) -> None:
    client = openai.OpenAI(base_url=f"{provider.url}/api.perplexity.ai", api_key="any", max_retries=0)

    @payer.manager.budgeted("alice", cap="0.30")
    def ask(model: str, messages: list[Any], max_tokens: int = 100) -> Any:
        return client.chat.completions.create(model=model, messages=messages, max_tokens=max_tokens)

    with client, pytest.raises(BudgetExceededError):
        ask("perplexity/sonar-deep-research", MESSAGES)
    assert provider.requests == []


def test_without_a_call_inside_the_returned_response_is_settled(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    answer = chat.chat.completions.create(model=MODEL, messages=MESSAGES)
    spent = payer.spent

    @payer.manager.budgeted("alice")
    def ask(model: str, messages: list[Any]) -> Any:
        return {"model": MODEL, "id": "another", "usage": answer.usage.model_dump()}

    ask(MODEL, MESSAGES)
    assert payer.spent == 2 * spent
    assert payer.charges() == 2


def test_a_block_inside_the_function_does_not_make_it_two_charges(payer: Paying, chat: openai.OpenAI) -> None:
    @payer.manager.budgeted("alice")
    def ask(model: str, messages: list[Any]) -> Any:
        with payer.block("bob", cap=1):
            return chat.chat.completions.create(model=model, messages=messages)

    ask(MODEL, MESSAGES)
    payer.agrees()
    assert payer.manager.balance("alice").spent == payer.manager.balance("bob").spent > 0


def test_decorated_functions_inside_each_other_are_one_charge(payer: Paying, chat: openai.OpenAI) -> None:
    @payer.manager.budgeted("inner")
    def inner(model: str, messages: list[Any]) -> Any:
        return chat.chat.completions.create(model=model, messages=messages)

    @payer.manager.budgeted("outer")
    def outer(model: str, messages: list[Any]) -> Any:
        return inner(model, messages)

    outer(MODEL, MESSAGES)
    payer.agrees()
    assert payer.manager.balance("outer").spent == payer.manager.balance("inner").spent > 0


@pytest.mark.parametrize("how", ["submit", "to_thread", "thread"])
def test_a_call_inside_made_by_another_thread_is_one_charge(
    how: str, payer: Paying, chat: openai.OpenAI, pool: ThreadPoolExecutor
) -> None:
    import threading

    def call(model: str, messages: list[Any]) -> Any:
        return chat.chat.completions.create(model=model, messages=messages)

    @payer.manager.budgeted("alice")
    def ask(model: str, messages: list[Any]) -> Any:
        if how == "submit":
            return pool.submit(call, model, messages).result()
        if how == "to_thread":
            return asyncio.run(asyncio.to_thread(call, model, messages))
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(call(model, messages)))
        thread.start()
        thread.join()
        return found[0]

    assert ask(MODEL, MESSAGES).choices
    payer.agrees()


def test_a_function_that_fails_before_its_call_costs_what_nobody_knows(payer: Paying) -> None:
    @payer.manager.budgeted("alice")
    def ask(model: str, messages: list[Any]) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(MODEL, MESSAGES)
    payer.guessed()


def test_a_function_whose_call_fails_costs_what_the_call_did(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    @payer.manager.budgeted("alice")
    def ask(model: str, messages: list[Any]) -> Any:
        return chat.chat.completions.create(model=model, messages=messages)

    provider.reply(status=400)
    with pytest.raises(openai.BadRequestError):
        ask(MODEL, MESSAGES)
    payer.agrees(calls=0)


def test_a_generator_around_a_stream_is_one_charge(payer: Paying, chat: openai.OpenAI) -> None:
    @payer.manager.budgeted("alice")
    def ask(model: str, messages: list[Any]) -> Iterator[str]:
        for chunk in chat.chat.completions.create(model=model, messages=messages, stream=True):
            yield chunk.choices[0].delta.content or ""

    assert "".join(ask(MODEL, MESSAGES))
    payer.agrees()


def test_a_generator_that_is_left_is_one_estimate(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    @payer.manager.budgeted("alice")
    def ask(model: str, messages: list[Any]) -> Iterator[str]:
        for chunk in chat.chat.completions.create(model=model, messages=messages, stream=True):
            yield chunk.choices[0].delta.content or ""

    provider.reply(gate_after=2)
    for _ in ask(MODEL, MESSAGES):
        break
    payer.guessed()
    assert payer.charges() == 1


@pytest.mark.parametrize("ledger", ["memory://", None], ids=["memory", "file"])
def test_coroutines_are_one_charge_each_whoever_has_the_lock(
    ledger: str | None, paying: Callable[..., Paying], async_chat: openai.AsyncOpenAI
) -> None:
    payer = paying(ledger=ledger)

    @payer.manager.budgeted(user=lambda model, messages, user: user)
    async def ask(model: str, messages: list[Any], user: str) -> Any:
        return await async_chat.chat.completions.create(model=model, messages=messages)

    async def main() -> None:
        async with async_chat:
            await asyncio.gather(*(ask(MODEL, MESSAGES, f"user{number % 3}") for number in range(12)))

    asyncio.run(main())
    payer.agrees(calls=12)


def test_a_coroutine_that_finds_the_ledger_busy_is_settled_beside_the_loop(payer: Paying) -> None:
    @payer.manager.budgeted("alice")
    async def ask(model: str, messages: list[Any]) -> Any:
        return {"usage": {"prompt_tokens": 10, "completion_tokens": 5}}

    settle = payer.manager.ledger.settle

    def busy_at_first(id: str, used: Any, at: int, reason: str = "", timeout: float | None = None) -> bool:
        if timeout == 0:
            raise LedgerLockedError("busy")
        return settle(id, used, at, reason, timeout)

    payer.manager.ledger.settle = busy_at_first  # type: ignore[method-assign]
    asyncio.run(ask(MODEL, MESSAGES))
    assert payer.charges() == 1
    assert payer.manager.uncertain() == []


def test_an_asynchronous_generator_around_a_stream_is_one_charge(payer: Paying, async_chat: openai.AsyncOpenAI) -> None:
    @payer.manager.budgeted("alice")
    async def ask(model: str, messages: list[Any]) -> AsyncIterator[str]:
        async for chunk in await async_chat.chat.completions.create(model=model, messages=messages, stream=True):
            yield chunk.choices[0].delta.content or ""

    async def main() -> str:
        async with async_chat:
            return "".join([piece async for piece in ask(MODEL, MESSAGES)])

    assert asyncio.run(main())
    payer.agrees()


def test_a_response_that_was_metered_is_not_charged_again_by_hand(payer: Paying, chat: openai.OpenAI) -> None:
    payer.manager.create_budget(10, "alice")
    with payer.block("alice"):
        answer = chat.chat.completions.create(model=MODEL, messages=MESSAGES)
    payer.manager.update_cost(answer, "alice")
    payer.agrees()
    payer.manager.create_budget(10, "bob")
    payer.manager.update_cost(answer, "bob")
    payer.agrees()
    assert payer.manager.get_current_cost("bob") == payer.manager.get_current_cost("alice")


def test_a_call_inside_that_leaves_the_functions_cap_out_holds_for_itself(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.001")

    @payer.manager.budgeted("alice")
    def ask(model: str, messages: list[Any], max_tokens: int = 10) -> Any:
        return chat.chat.completions.create(model=model, messages=messages, reasoning_effort="minimal")

    provider.reply(output_tokens=5_000)
    ask(MODEL, MESSAGES)
    payer.agrees()
    assert payer.manager.balance().spent <= 0.001
    assert provider.requests[0].body["max_completion_tokens"] > 10


def test_a_call_inside_that_costs_more_where_it_goes_holds_for_itself(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget=1)
    register_price("of-two-prices", input=1, output=1, max_output_tokens=100)
    register_price("of-two-prices", input=1, output=100_000, max_output_tokens=100, base_url=provider.openai_url)

    @payer.manager.budgeted("alice")
    def ask(model: str, messages: list[Any], max_tokens: int = 100) -> Any:
        return chat.chat.completions.create(model=model, messages=messages, max_tokens=max_tokens)

    with pytest.raises(BudgetExceededError):
        ask("of-two-prices", MESSAGES)
    ask("of-two-prices", MESSAGES, max_tokens=5)
    assert len(provider.bill) == 1
    assert payer.manager.balance("alice").spent >= 0.1


def test_an_async_generator_that_a_plain_function_returns_sends_for_those_who_pay_for_the_function(
    payer: Paying, async_chat: openai.AsyncOpenAI
) -> None:
    @payer.manager.budgeted("alice")
    def ask(model: str, messages: list[Any]) -> Any:
        async def chunks() -> AsyncIterator[Any]:
            async for chunk in await async_chat.chat.completions.create(model=model, messages=messages, stream=True):
                yield chunk

        return chunks()

    async def main() -> None:
        async with async_chat:
            assert [chunk async for chunk in ask(MODEL, MESSAGES)]

    asyncio.run(main())
    payer.agrees()
    assert payer.manager.balance("alice").spent == payer.manager.balance().spent


def test_what_sends_no_sooner_than_it_is_read_is_one_charge(payer: Paying, chat: openai.OpenAI) -> None:
    @payer.manager.budgeted("alice")
    def ask(model: str, messages: list[Any]) -> Any:
        def chunks() -> Iterator[Any]:
            yield from chat.chat.completions.create(model=model, messages=messages, stream=True)

        return map(str, chunks())

    assert list(ask(MODEL, MESSAGES))
    payer.agrees()
    assert payer.manager.balance("alice").spent == payer.manager.balance().spent


@pytest.mark.parametrize("method", ["stream", "with_streaming_response.create"])
@pytest.mark.parametrize("status", [None, 400])
def test_what_sends_no_sooner_than_it_is_entered_is_one_charge(
    method: str, status: int | None, payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    @payer.manager.budgeted("alice")
    def ask(model: str, messages: list[Any]) -> Any:
        return attrgetter(method)(chat.chat.completions)(model=model, messages=messages)

    provider.reply(status=status)
    if status is None:
        with ask(MODEL, MESSAGES) as opened:
            list(opened if method == "stream" else opened.iter_bytes())
    else:
        with pytest.raises(openai.BadRequestError), ask(MODEL, MESSAGES):
            pass
    payer.agrees(calls=int(status is None))
    assert payer.manager.balance("alice").spent == payer.manager.balance().spent


def test_what_a_coroutine_returns_to_be_entered_is_one_charge(payer: Paying, async_chat: openai.AsyncOpenAI) -> None:
    @payer.manager.budgeted("alice")
    async def ask(model: str, messages: list[Any]) -> Any:
        return async_chat.chat.completions.stream(model=model, messages=messages)

    async def main() -> None:
        async with async_chat, await ask(MODEL, MESSAGES) as stream:
            assert [event async for event in stream]

    asyncio.run(main())
    payer.agrees()
    assert payer.manager.balance("alice").spent == payer.manager.balance().spent


def test_what_was_to_be_entered_and_is_forgotten_leaves_no_hold(payer: Paying, chat: openai.OpenAI) -> None:
    @payer.manager.budgeted("alice")
    def ask(model: str, messages: list[Any]) -> Any:
        return chat.chat.completions.stream(model=model, messages=messages)

    ask(MODEL, MESSAGES)
    payer.guessed()


@pytest.mark.parametrize("stream", [False, True])
def test_what_requests_sends_is_settled_when_it_has_been_read(
    stream: bool, payer: Paying, provider: SimulatedProvider
) -> None:
    @payer.manager.budgeted("alice")
    def ask(model: str, messages: list[Any]) -> Any:
        body = {"model": model, "messages": messages}
        return requests.post(f"{provider.openai_url}/chat/completions", json=body, stream=stream, timeout=10)

    with ask(MODEL, MESSAGES) as answer:
        assert answer.json()["choices"]
    payer.agrees()  # read later as well: it is metered where it is sent
