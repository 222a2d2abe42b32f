"""A call that failed costs nothing if it cannot have cost anything, else an estimate that is listed."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from paying import MESSAGES

from budgeted import BudgetExceededError
from budgeted.ledger import background_worker
from budgeted.metering import runner
from budgeted.testing import Reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future, ThreadPoolExecutor

    from paying import Paying

    from budgeted.testing import SimulatedProvider

pytestmark = pytest.mark.sdk

ASK: dict[str, Any] = {"model": "gpt-5-mini", "messages": MESSAGES}
CLAUDE: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 500, "messages": MESSAGES}


# -- refused by the provider, or never sent


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 422, 429, 500, 503, 529])
def test_what_the_provider_refuses_costs_nothing(
    status: int,
    stream: bool,
    payer: Paying,
    chat: openai.OpenAI,
    claude: anthropic.Anthropic,
    provider: SimulatedProvider,
) -> None:
    provider.reply(status=status)
    with payer.block() as block:
        with pytest.raises(openai.APIStatusError):
            chat.chat.completions.create(**ASK, stream=stream)
        with pytest.raises(anthropic.APIStatusError):
            claude.messages.create(**CLAUDE, stream=stream)
        with pytest.raises(openai.APIStatusError), chat.chat.completions.with_streaming_response.create(**ASK):
            pass
    payer.agrees(calls=0)
    assert block.spent == 0


def test_retries_after_a_refusal_are_one_call(payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider) -> None:
    provider.queue(Reply(status=429, retry_after=0.001), Reply(status=500, retry_after=0.001), Reply())
    with payer.block() as block:
        chat.with_options(max_retries=2).chat.completions.create(**ASK)
    assert len(provider.requests) == 3
    assert block.calls == 1
    payer.agrees()


def _closed_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def test_a_refused_connection_costs_nothing(payer: Paying) -> None:
    url = f"http://127.0.0.1:{_closed_port()}/v1"
    client = openai.OpenAI(base_url=url, api_key="any", max_retries=0)
    with client, payer.block() as block, pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(**ASK)
    assert block.spent == 0
    assert payer.charges() == 0
    assert payer.manager.uncertain() == []


def test_a_refused_connection_costs_nothing_in_coroutines(payer: Paying) -> None:
    async def main() -> None:
        url = f"http://127.0.0.1:{_closed_port()}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client, payer.block():
            with pytest.raises(openai.APIConnectionError):
                await client.chat.completions.create(**ASK)

    asyncio.run(main())
    assert payer.charges() == 0


@pytest.mark.parametrize("bad", [object(), {1, 2}, 1j], ids=["object", "set", "complex"])
def test_what_cannot_even_be_written_down_costs_nothing(
    bad: Any, payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    with payer.block() as block, pytest.raises(TypeError):
        chat.chat.completions.create(**ASK, extra_body={"oddity": bad})
    assert provider.requests == []
    assert block.spent == 0
    assert payer.charges() == 0


# -- nobody knows


def test_a_timeout_is_charged_an_estimate(payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider) -> None:
    provider.reply(hang=True)
    with payer.block() as block, pytest.raises(openai.APITimeoutError):
        chat.chat.completions.create(**ASK, timeout=0.1)
    (charge,) = payer.guessed()
    assert charge.reason == "timed out after sending"
    assert round(block.spent * 1e9) == payer.spent >= provider.billed_nano()


def test_each_retry_after_a_timeout_is_a_charge_of_its_own(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    provider.queue(Reply(hang=True), Reply(hang=True), Reply())
    with payer.block() as block:
        chat.with_options(max_retries=2, timeout=0.15).chat.completions.create(**ASK)
    first, second = payer.guessed(2)
    assert first.reason == second.reason == "timed out after sending; the SDK sent it again"
    assert payer.charges() == len(provider.bill) == 3
    assert payer.spent == round(block.spent * 1e9) >= provider.billed_nano()


def test_each_retry_after_a_timeout_is_a_charge_of_its_own_in_coroutines(
    payer: Paying, async_claude: anthropic.AsyncAnthropic, provider: SimulatedProvider
) -> None:
    provider.queue(Reply(hang=True), Reply(drop=True), Reply())

    async def main() -> None:
        async with async_claude, payer.block():
            await async_claude.with_options(max_retries=2, timeout=0.15).messages.create(**CLAUDE)

    asyncio.run(main())
    payer.guessed(2)
    assert payer.charges() == len(provider.bill) == 3
    assert payer.spent >= provider.billed_nano()


def test_a_timeout_while_another_failure_is_handled_is_not_taken_for_it(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    provider.queue(Reply(status=429), Reply(hang=True))
    with payer.block():
        try:
            chat.chat.completions.create(**ASK)
        except openai.RateLimitError:
            with pytest.raises(openai.APITimeoutError):
                chat.chat.completions.create(**ASK, timeout=0.1)
    payer.guessed(1)


@pytest.mark.parametrize("reply", [{"drop": True}, {"drop_after": 0}, {"malformed_after": 0}], ids=str)
def test_a_connection_lost_after_sending_is_charged_an_estimate(
    reply: dict[str, Any], payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    provider.reply(**reply)
    with payer.block(), pytest.raises((openai.APIConnectionError, ValueError)):
        chat.chat.completions.create(**ASK)
    payer.guessed()
    assert payer.spent >= provider.billed_nano()


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        "plenty",
        {"prompt_tokens": -1, "completion_tokens": 5, "total_tokens": 4},
        {"prompt_tokens": "some", "completion_tokens": "few", "total_tokens": 12},
        {"prompt_tokens": 10**18, "completion_tokens": 5, "total_tokens": 10},
        {"prompt_tokens": 5, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 50}},
        {"prompt_tokens": 5, "completion_tokens": 5, "prompt_tokens_details": "many"},
    ],
    ids=str,
)
@pytest.mark.parametrize("way", ["plain", "raw", "streaming"])
def test_a_nonsensical_usage_is_charged_an_estimate(
    way: str, usage: Any, payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    provider.reply(usage=usage, text="Hello")
    completions = chat.chat.completions
    with payer.block():
        if way == "plain":
            answer = completions.create(**ASK)
        elif way == "raw":
            answer = completions.with_raw_response.create(**ASK).parse()
        else:
            with completions.with_streaming_response.create(**ASK) as response:
                answer = response.parse()
    assert answer.choices[0].message.content == "Hello"
    if isinstance(usage, dict) and usage.get("prompt_tokens_details") == "many":
        assert payer.charges() == 1  # the counts that matter are there
    else:
        payer.guessed()
        assert payer.spent >= provider.billed_nano()


def test_an_answer_by_a_model_that_nobody_knows_is_charged_as_the_one_asked_for_and_listed(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    provider.reply(model="somebody-else-altogether")
    with payer.block():
        assert chat.chat.completions.create(**ASK).model == "somebody-else-altogether"
    (charge,) = payer.guessed()
    assert "somebody-else-altogether" in charge.reason
    payer.manager.reconcile(charge.id, cost=0.25)
    assert payer.manager.uncertain() == []
    assert payer.spent == 0.25e9


# -- cancelled


def test_a_task_cancelled_while_its_call_is_out_is_charged_an_estimate(
    payer: Paying, async_chat: openai.AsyncOpenAI, provider: SimulatedProvider
) -> None:
    provider.reply(hang=True)

    async def call() -> None:
        async with payer.block():
            await async_chat.chat.completions.create(**ASK)

    async def main() -> None:
        async with async_chat:
            task = asyncio.create_task(call())
            assert await asyncio.to_thread(provider.wait_parked)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    (charge,) = payer.guessed()
    assert charge.reason == "cancelled after sending"


def test_a_deadline_around_a_call_is_a_cancellation(
    payer: Paying, async_chat: openai.AsyncOpenAI, provider: SimulatedProvider
) -> None:
    provider.reply(hang=True)

    async def main() -> None:
        async with async_chat, payer.block():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await async_chat.chat.completions.create(**ASK)

    asyncio.run(main())
    payer.guessed()


@pytest.mark.parametrize("ledger", ["memory://", None], ids=["memory", "file"])
def test_a_task_cancelled_while_it_waits_its_turn_leaves_nothing_behind(
    ledger: str | None,
    paying: Callable[..., Paying],
    async_chat: openai.AsyncOpenAI,
    provider: SimulatedProvider,
) -> None:
    payer = paying(max_budget="0.10", ledger=ledger)
    provider.queue(Reply(hang=True))
    turns = payer.manager.ledger.turns

    async def call(name: str) -> None:
        async with payer.block(name):
            await async_chat.chat.completions.create(**ASK, max_completion_tokens=40_000)

    async def main() -> None:
        async with async_chat:
            first = asyncio.create_task(call("first"))
            assert await asyncio.to_thread(provider.wait_parked)
            waiting = [asyncio.create_task(call(f"user{number}")) for number in range(5)]
            while sum(map(len, turns.queues.values())) < 5:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)
            for task in waiting[:4]:
                task.cancel()
            results = await asyncio.gather(*waiting[:4], return_exceptions=True)
            assert {type(result) for result in results} == {asyncio.CancelledError}
            provider.release()
            await asyncio.gather(first, waiting[4])

    asyncio.run(main())
    payer.agrees(calls=2)


@pytest.mark.parametrize("moment", range(12))
def test_a_task_cancelled_at_any_moment_leaves_nothing_open(
    moment: int, paying: Callable[..., Paying], async_chat: openai.AsyncOpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(ledger=None)

    async def call(name: str) -> None:
        async with payer.block(name):
            async for _ in await async_chat.chat.completions.create(**ASK, stream=True):
                await asyncio.sleep(0)

    async def main() -> None:
        async with async_chat:
            tasks = [asyncio.create_task(call(f"user{number}")) for number in range(6)]
            for number, task in enumerate(tasks):
                for _ in range(moment * (number + 1)):
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    assert provider.wait_idle()
    assert payer.charges() >= sum(1 for billed in provider.bill)
    assert payer.spent >= provider.billed_nano()


def test_a_task_cancelled_while_its_hold_waits_for_the_ledgers_lock_leaves_nothing_open(
    paying: Callable[..., Paying],
    async_chat: openai.AsyncOpenAI,
    provider: SimulatedProvider,
) -> None:
    payer = paying(ledger=None)
    ledger = payer.manager.ledger
    started = threading.Event()
    hold = ledger.hold

    def seen(*args: Any, **kwargs: Any) -> Any:
        if args[4] is None:  # in the executor, which may wait
            started.set()
        return hold(*args, **kwargs)

    ledger.hold = seen  # type: ignore[method-assign]

    async def call() -> None:
        async with payer.block():
            await async_chat.chat.completions.create(**ASK)

    async def main() -> None:
        async with async_chat:
            await call()  # the plan is made, the accounts are there
            ledger._lock.acquire()
            try:
                task = asyncio.create_task(call())
                assert await asyncio.to_thread(started.wait, 10)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            finally:
                ledger._lock.release()

    asyncio.run(main())
    runner._executor().shutdown()
    runner._pool = None
    payer.agrees(calls=1)


def test_an_interrupted_wait_leaves_no_place_in_the_queue(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider, pool: ThreadPoolExecutor
) -> None:
    payer = paying(max_budget="0.10", wait=60)
    provider.queue(Reply(hang=True))
    first = pool.submit(chat.chat.completions.create, **ASK, max_completion_tokens=40_000)
    assert provider.wait_parked()
    turns = payer.manager.ledger.turns
    join = turns.join

    def interrupt(*args: Any) -> None:
        join(*args)
        raise KeyboardInterrupt

    turns.join = interrupt  # type: ignore[method-assign]
    with payer.block(), pytest.raises(KeyboardInterrupt) as kept:
        chat.chat.completions.create(**ASK, max_completion_tokens=40_000)
    assert kept.value
    assert not turns.waiting
    provider.release()
    first.result()
    payer.agrees()


def test_an_interrupted_call_is_charged_an_estimate(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = type(chat._client).send

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        send(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(type(chat._client), "send", interrupted)
    with payer.block(), pytest.raises(KeyboardInterrupt):
        chat.chat.completions.create(**ASK)
    payer.guessed()
    assert payer.spent >= provider.billed_nano() > 0


def test_an_interrupted_settlement_is_made_up_for(
    payer: Paying, chat: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = payer.manager.ledger
    settle = ledger.settle
    calls = []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return settle(*args, **kwargs)

    monkeypatch.setattr(ledger, "settle", interrupted)
    with payer.block(), pytest.raises(KeyboardInterrupt):
        chat.chat.completions.create(**ASK)
    payer.agrees()


@pytest.fixture
def late(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider, pool: ThreadPoolExecutor
) -> tuple[Paying, Future[Any]]:
    """Who pays for a call whose hold was given up, and the call, as the provider still keeps its answer back."""
    now = [1_795_348_800.0]
    payer = paying(clock=lambda: now[0], hold_timeout=60)
    provider.reply(hang=True)
    asked = pool.submit(chat.chat.completions.create, **ASK)
    assert provider.wait_parked()
    now[0] += 61
    payer.manager.ledger.sweep()
    return payer, asked


def test_a_late_answer_does_not_fight_with_what_was_reconciled(
    late: tuple[Paying, Future[Any]], provider: SimulatedProvider
) -> None:
    payer, asked = late
    (charge,) = payer.manager.uncertain()
    payer.manager.reconcile(charge.id, cost="0.5")
    provider.release()
    assert asked.result().choices
    payer.manager.flush()
    assert payer.spent == 0.5e9
    assert not background_worker._retried


def test_a_late_answer_replaces_the_estimate_of_a_hold_that_was_given_up(
    late: tuple[Paying, Future[Any]], provider: SimulatedProvider
) -> None:
    payer, asked = late
    assert len(payer.manager.uncertain()) == 1
    provider.release()
    asked.result()
    payer.agrees()


def test_failed_calls_make_room_again(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.10")
    provider.reply(status=500)
    for _ in range(20):
        with payer.block(), pytest.raises(openai.InternalServerError):
            chat.chat.completions.create(**ASK, max_completion_tokens=40_000)
    provider.reply(output_tokens=40_000)
    with payer.block():
        chat.chat.completions.create(**ASK, max_completion_tokens=40_000)
        with pytest.raises(BudgetExceededError):
            chat.chat.completions.create(**ASK, max_completion_tokens=40_000)
    payer.agrees()
