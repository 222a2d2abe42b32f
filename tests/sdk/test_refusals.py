"""What happens to a call that does not fit: clamped, refused, let through, sent to another model, or made to wait."""

from __future__ import annotations

import asyncio
import datetime as dt
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pydantic
import pytest
from paying import MESSAGES

from budgeted import BudgetExceededError, UnattributedCallError, UnknownUserError, UnpricedModelError, register_price
from budgeted.payers import block_figures
from budgeted.testing import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from paying import Paying

    from budgeted.testing import SimulatedProvider

pytestmark = pytest.mark.sdk

MODEL = "gpt-5"  # 10 USD per million output tokens, at most 128,000 of them: 1.28 USD
ASK: dict[str, Any] = {"model": MODEL, "messages": MESSAGES}
NOON = 1_795_348_800  # 2026-11-22 12:00 UTC


class City(pydantic.BaseModel):
    name: str
    people: int


def _chat(client: openai.OpenAI, **more: Any) -> Any:
    return client.chat.completions.create(**ASK, **more)


def _responses(client: openai.OpenAI, **more: Any) -> Any:
    return client.responses.create(model=MODEL, input="Say something nice.", **more)


def _completions(client: openai.OpenAI, **more: Any) -> Any:
    return client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once upon a time", **more)


# -- clamp


@pytest.mark.parametrize(
    ("ask", "budget", "name"),
    [
        (_chat, "1.00", "max_completion_tokens"),
        (_responses, "1.00", "max_output_tokens"),
        (_completions, "0.01", "max_tokens"),
    ],
)
def test_the_cap_that_is_granted_is_written_in_the_apis_own_words(
    ask: Callable[..., Any],
    budget: str,
    name: str,
    paying: Callable[..., Paying],
    chat: openai.OpenAI,
    provider: SimulatedProvider,
) -> None:
    payer = paying(max_budget=budget)
    with payer.block() as block:
        ask(chat)
    (request,) = provider.requests
    assert block.clamped == 1
    assert 256 <= request.body.pop(name) < 128_000
    assert not [other for other in request.body if "max" in other and "tokens" in other]
    payer.agrees()


@pytest.mark.parametrize("ask", [_chat, _responses])
@pytest.mark.parametrize("stream", [False, True])
def test_a_clamped_stream_is_capped_as_well(
    ask: Callable[..., Any],
    stream: bool,
    paying: Callable[..., Paying],
    chat: openai.OpenAI,
) -> None:
    payer = paying(max_budget="0.10")
    payer.provider.reply(output_tokens=100_000)
    with payer.block() as block:
        list(ask(chat, stream=stream))
    assert block.clamped == 1
    payer.agrees()
    assert payer.spent <= 0.1e9


@pytest.mark.parametrize(
    ("ask", "at_once"), [(_chat, {"reasoning_effort": "minimal"}), (_responses, {"reasoning": {"effort": "minimal"}})]
)
def test_a_model_that_thinks_is_refused_where_its_thoughts_would_leave_no_answer(
    ask: Callable[..., Any],
    at_once: dict[str, Any],
    paying: Callable[..., Paying],
    chat: openai.OpenAI,
    provider: SimulatedProvider,
) -> None:
    payer = paying(max_budget="0.03")  # 3,000 tokens of output
    with payer.block(), pytest.raises(BudgetExceededError, match=r"with an output cap of 29\d\d tokens"):
        ask(chat)
    assert provider.requests == []
    with payer.block() as block:
        ask(chat, **at_once)
    assert block.clamped == 1
    payer.agrees()


def test_other_servers_are_told_by_the_old_name_of_the_cap(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    register_price("llama-for-refusals", input=1, output=10, max_output_tokens=128_000)
    payer = paying(max_budget="1.00")
    with payer.block():
        chat.chat.completions.create(model="llama-for-refusals", messages=MESSAGES)
    assert "max_tokens" in provider.requests[0].body
    assert "max_completion_tokens" not in provider.requests[0].body


def test_a_request_that_fits_is_not_touched(
    payer: Paying, paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    with payer.block() as block:
        _chat(chat)
    assert set(provider.requests[0].body) == set(ASK)
    assert block.clamped == 0
    payer.agrees()


@pytest.mark.parametrize("name", ["max_completion_tokens", "max_tokens"])
def test_an_own_cap_is_granted_whole(
    name: str, paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="1.00")
    with payer.block() as block:
        _chat(chat, **{name: 90_000})
    assert provider.requests[0].body[name] == 90_000
    assert block.clamped == 0
    payer.agrees()


@pytest.mark.parametrize("where", ["argument", "extra_body"])
def test_an_own_cap_that_does_not_fit_is_refused(
    where: str, paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="1.00")
    cap = {"max_completion_tokens": 110_000}
    with payer.block() as block, pytest.raises(BudgetExceededError) as refused:
        _chat(chat, **(cap if where == "argument" else {"extra_body": cap}))
    assert provider.requests == []
    assert block.refused == 1
    assert block.calls == 0
    assert refused.value.max_output_tokens == pytest.approx(99_900, rel=0.01)


def test_an_extra_body_without_a_cap_is_clamped_too(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="1.00")
    with payer.block():
        _chat(chat, extra_body={"model": "gpt-5-mini", "n": 2})
    body = provider.requests[0].body
    assert body["model"] == "gpt-5-mini"
    assert body["max_completion_tokens"] < 128_000
    payer.agrees()


def test_a_cap_on_several_answers_is_a_share_for_each(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="1.00")
    provider.reply(output_tokens=100_000)
    with payer.block():
        _chat(chat, n=4)
    assert provider.requests[0].body["max_completion_tokens"] <= 0.25e6 / 10 / 4
    payer.agrees()


def test_structured_output_is_never_clamped(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="2.00")
    with payer.block() as block:
        chat.chat.completions.parse(**ASK, response_format=City)
        chat.responses.parse(model=MODEL, input="Hello", text_format=City)
        _chat(chat, response_format={"type": "json_object"})
    assert block.clamped == 0
    assert not [name for request in provider.requests for name in request.body if "max" in name]
    payer.agrees(calls=3)


def test_structured_output_that_may_not_fit_is_refused(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="1.00")
    with payer.block(), pytest.raises(BudgetExceededError):
        chat.chat.completions.parse(**ASK, response_format=City)
    assert provider.requests == []


def test_the_tightest_of_all_accounts_decides_how_much_is_granted(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="50")
    payer.manager.set_limits("alice", "$0.20/day")
    with payer.block("alice", cap="1.00") as block:
        _chat(chat)
    assert provider.requests[0].body["max_completion_tokens"] == pytest.approx(5000, rel=0.05)
    assert block.clamped == 1
    payer.agrees()


def test_limits_in_tokens_clamp_as_well(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="40000 tokens/hour")
    with payer.block():
        _chat(chat)
    assert 4096 <= provider.requests[0].body["max_completion_tokens"] <= 10_000
    assert payer.charges() == 1


def test_limits_in_calls_never_clamp(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="2 calls/minute", clock=lambda: NOON)
    with payer.block():
        _chat(chat)
        _chat(chat)
        with pytest.raises(BudgetExceededError) as refused:
            _chat(chat)
    assert refused.value.unit == "calls"
    assert refused.value.retry_after == 60
    assert [set(request.body) for request in provider.requests] == [set(ASK)] * 2


def test_without_limits_nothing_is_written_even_for_models_that_nobody_knows(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget=None)
    with payer.block():
        chat.chat.completions.create(model="a-model-that-nobody-knows", messages=MESSAGES)
    assert set(provider.requests[0].body) == set(ASK)


# -- raise


def test_raise_sends_exactly_what_an_unmetered_call_sends(
    paying: Callable[..., Paying], chat: openai.OpenAI, claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    bodies: list[list[Any]] = []

    def calls() -> None:
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
        _chat(chat, temperature=1, tools=[tool], extra_body={"zeta": 1, "model": MODEL, "alpha": None}, stop=None)
        _responses(chat, instructions="Be brief", metadata={"a": "b"})
        chat.chat.completions.parse(**ASK, response_format=City)
        claude.messages.create(model="claude-haiku-4-5", max_tokens=9, messages=MESSAGES, system="Be brief")
        bodies.append([list(request.body.items()) for request in provider.requests])
        provider.reset()

    calls()
    payer = paying(on_exceed="raise", max_budget=20)
    with payer.block():
        calls()
    assert bodies[0] == bodies[1]
    assert payer.charges() == 4


def test_raise_refuses_where_clamp_would_cut(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="1.00", on_exceed="raise")
    with payer.block(), pytest.raises(BudgetExceededError):
        _chat(chat)
    assert provider.requests == []


# -- warn


def test_warn_lets_the_call_through_records_it_and_says_so_once(
    paying: Callable[..., Paying], chat: openai.OpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    payer = paying(max_budget="0.0001", on_exceed="warn")
    with payer.block() as block:
        _chat(chat)
        _chat(chat)
    payer.agrees(calls=2)
    assert block.refused == block.clamped == 0
    assert caplog.text.count("on_exceed='warn'") == 1


def test_an_inner_warn_does_not_soften_an_outer_limit(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.0001")
    with payer.block(on_exceed="warn"), pytest.raises(BudgetExceededError) as refused:
        _chat(chat)
    assert refused.value.account_kind == "global"
    assert provider.requests == []


# -- fallback


def test_a_fallback_is_asked_where_the_model_does_not_fit(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="1.00", fallback=["a-model-that-nobody-knows", "gpt-5-mini"])
    with payer.block() as block:
        answer = _chat(chat, max_completion_tokens=120_000)
    assert answer.model == provider.requests[0].body["model"] == "gpt-5-mini"
    assert provider.requests[0].body["max_completion_tokens"] == 120_000
    payer.agrees()
    assert block.calls == 1
    assert list(payer.manager.report("model")) == ["gpt-5-mini"]


def test_a_fallback_given_in_an_extra_body_wins_there_too(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="1.00", fallback="gpt-5-mini")
    with payer.block():
        _chat(chat, max_completion_tokens=120_000, extra_body={"model": MODEL})
    assert provider.requests[0].body["model"] == "gpt-5-mini"
    payer.agrees()


def test_a_fallback_that_does_not_fit_either_leaves_the_refusal_of_the_first(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.0001", fallback=["gpt-4o", "gpt-5-mini"])
    with payer.block(), pytest.raises(BudgetExceededError) as refused:
        _chat(chat)
    assert refused.value.model == MODEL
    assert provider.requests == []


# -- refused


def test_a_refusal_tells_everything(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(clock=lambda: NOON)
    payer.manager.set_limits("alice", "$0.50/day")
    with payer.block("alice"), pytest.raises(BudgetExceededError) as caught:
        _chat(chat, max_completion_tokens=100_000)
    for refused in (caught.value, pickle.loads(pickle.dumps(caught.value))):  # noqa: S301
        assert (refused.account, refused.account_kind, refused.limit) == ("alice", "user", "$0.50/day")
        assert (refused.spent, refused.held, refused.remaining, refused.reason) == (0, 0, 0.5, "spent")
        assert refused.requested == pytest.approx(1.0, rel=0.01)
        assert refused.resets_at == dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
        assert refused.retry_after == 12 * 3600
        assert refused.model == MODEL
        assert (refused.current_cost, refused.max_budget) == (0, 0.5)
        assert "alice" in str(refused)
        assert "$0.50/day" in str(refused)
    assert provider.requests == []


def test_a_cap_that_is_spent_refuses_in_the_blocks_name(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    provider.reply(output_tokens=2000)
    with payer.block("alice", cap="0.02") as block:
        _chat(chat, max_completion_tokens=2000 - 64)
        with pytest.raises(BudgetExceededError) as refused:
            _chat(chat, max_completion_tokens=2000)
    assert refused.value.account_kind == "block"
    assert refused.value.resets_at is None
    assert refused.value.max_budget == 0.02
    assert refused.value.spent == block.spent > 0
    assert block.refused == block.calls == 1


def test_coroutines_are_refused_in_the_same_way(
    paying: Callable[..., Paying], async_chat: openai.AsyncOpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.0001")

    async def main() -> None:
        async with async_chat, payer.block():
            with pytest.raises(BudgetExceededError):
                await async_chat.chat.completions.create(**ASK)

    asyncio.run(main())
    assert provider.requests == []


def test_what_was_paid_for_is_recorded_above_the_limit_and_the_next_call_is_refused(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.10")
    provider.reply(input_tokens=500_000, output_tokens=10)  # far more than the request can have been
    with payer.block():
        assert _chat(chat).choices
        with pytest.raises(BudgetExceededError):
            _chat(chat)
    payer.agrees()
    assert payer.spent > 0.1e9


def test_a_model_without_a_price_is_refused_where_dollars_count(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    with payer.block(), pytest.raises(UnpricedModelError, match="register_price"):
        chat.chat.completions.create(model="a-model-that-nobody-knows", messages=MESSAGES)
    assert provider.requests == []


def test_a_model_without_a_price_may_be_free(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(unpriced="free")
    with payer.block():
        chat.chat.completions.create(model="a-model-that-nobody-knows", messages=MESSAGES)
    assert len(provider.requests) == 1
    assert payer.spent == 0
    assert payer.charges() == 1


def test_a_call_that_no_user_pays_for_may_be_refused(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(unattributed="deny", default_user_limits="$1/day")
    with pytest.raises(UnattributedCallError):
        _chat(chat)
    with payer.block(None), pytest.raises(UnattributedCallError):
        _chat(chat)
    assert provider.requests == []
    with payer.block("alice"):
        _chat(chat)
    payer.agrees()


def test_a_call_that_no_user_pays_for_is_warned_of_once(
    paying: Callable[..., Paying], chat: openai.OpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    payer = paying(default_user_limits="$1/day")
    _chat(chat)
    _chat(chat)
    assert caplog.text.count("charged to nobody") == 1
    payer.agrees(calls=2)


def test_a_user_that_is_not_known_may_be_refused(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(unknown_users="deny")
    with payer.block("mallory"), pytest.raises(UnknownUserError):
        _chat(chat)
    assert provider.requests == []


def test_what_a_request_only_refers_to_is_bounded_by_the_context_window(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider, pool: ThreadPoolExecutor
) -> None:
    provider.reply(hang=True)
    with payer.block() as block:
        asked = pool.submit(_responses, chat, previous_response_id="resp_1", max_output_tokens=100)
        assert provider.wait_parked()
        assert block.held > 200_000 * 1.25 / 1e6
        provider.release()
        asked.result()
    payer.agrees()


# -- wait


def _hold_up(
    payer: Paying, provider: SimulatedProvider, chat: openai.OpenAI, pool: ThreadPoolExecutor, tokens: int = 90_000
) -> Any:
    """A call in flight that holds nearly all of one dollar."""

    def ask() -> Any:
        with payer.block("first"):
            return _chat(chat, max_completion_tokens=tokens)

    provider.queue(Reply(hang=True, output_tokens=10))
    in_flight = pool.submit(ask)
    assert provider.wait_parked()
    return in_flight


def _wait_for_tickets(payer: Paying, count: int) -> None:
    """Until so many calls wait their turn."""
    turns = payer.manager.ledger.turns, block_figures.cap_turns
    for _ in range(10_000):
        if sum(len(queue) for one in turns for queue in one.queues.values()) == count:
            return
        threading.Event().wait(0.001)
    pytest.fail(f"there are not {count} calls waiting")


def test_calls_wait_for_calls_in_flight_and_are_served_in_the_order_they_came(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider, pool: ThreadPoolExecutor
) -> None:
    payer = paying(max_budget="1.00", wait=60)
    clients = {name: chat.copy(default_headers={"x-name": name}) for name in "abcdef"}

    def ask_in_thread(name: str) -> None:
        with payer.block(name):
            _chat(clients[name], max_completion_tokens=60_000)

    async def ask_in_task(name: str) -> None:
        async with (
            openai.AsyncOpenAI(
                base_url=provider.openai_url, api_key="any", default_headers={"x-name": name}, max_retries=0
            ) as client,
            payer.block(name),
        ):
            await client.chat.completions.create(**ASK, max_completion_tokens=60_000)

    first = _hold_up(payer, provider, chat, pool)
    waiting = []
    for number, name in enumerate("abcdef"):
        if number % 2:
            waiting.append(pool.submit(lambda name=name: asyncio.run(ask_in_task(name))))
        else:
            waiting.append(pool.submit(ask_in_thread, name))
        _wait_for_tickets(payer, number + 1)
    assert len(provider.requests) == 1
    provider.release()
    first.result()
    for one in waiting:
        one.result()
    assert [request.headers.get("x-name") for request in provider.requests] == [None, *"abcdef"]
    payer.agrees(calls=7)


def test_a_newcomer_lines_up_behind_those_who_wait(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider, pool: ThreadPoolExecutor
) -> None:
    payer = paying(max_budget="1.00", wait=60)
    first = _hold_up(payer, provider, chat, pool, tokens=60_000)
    big = pool.submit(_chat, chat, max_completion_tokens=80_000)
    _wait_for_tickets(payer, 1)
    small = pool.submit(_chat, chat, max_completion_tokens=30_000)  # would fit now, and not beside the big one
    _wait_for_tickets(payer, 2)
    assert len(provider.requests) == 1
    provider.release()
    for one in (first, big, small):
        one.result()
    payer.agrees(calls=3)
    assert [request.body["max_completion_tokens"] for request in provider.requests] == [60_000, 80_000, 30_000]


def test_a_wait_that_is_over_is_a_refusal_that_says_so(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider, pool: ThreadPoolExecutor
) -> None:
    payer = paying(max_budget="1.00", wait=0.05)
    first = _hold_up(payer, provider, chat, pool)
    with payer.block(), pytest.raises(BudgetExceededError) as refused:
        _chat(chat, max_completion_tokens=60_000)
    assert refused.value.reason == "held"
    assert refused.value.held > 0.9
    assert refused.value.retry_after > 0
    assert len(provider.requests) == 1
    provider.release()
    first.result()
    payer.agrees()


def test_a_coroutines_wait_that_is_over_is_a_refusal_too(
    paying: Callable[..., Paying],
    chat: openai.OpenAI,
    async_chat: openai.AsyncOpenAI,
    provider: SimulatedProvider,
    pool: ThreadPoolExecutor,
) -> None:
    payer = paying(max_budget="1.00", wait=0.05)

    async def main() -> None:
        async with async_chat, payer.block():
            with pytest.raises(BudgetExceededError):
                await async_chat.chat.completions.create(**ASK, max_completion_tokens=60_000)

    first = _hold_up(payer, provider, chat, pool)
    asyncio.run(main())
    provider.release()
    first.result()
    payer.agrees()


def test_a_fallback_is_asked_when_the_wait_is_over(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider, pool: ThreadPoolExecutor
) -> None:
    payer = paying(max_budget="1.00", wait=0.05, fallback="gpt-5-mini")
    first = _hold_up(payer, provider, chat, pool)
    with payer.block():
        assert _chat(chat, max_completion_tokens=20_000).model == "gpt-5-mini"
    provider.release()
    first.result()
    payer.agrees(calls=2)


def test_calls_wait_for_the_cap_of_their_own_block_only(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider, pool: ThreadPoolExecutor
) -> None:
    provider.queue(Reply(hang=True), Reply(hang=True))
    blocks = [payer.block("alice", cap="1.00"), payer.block("alice", cap="1.00")]

    def ask(block: Any, tokens: int) -> None:
        with block:
            _chat(chat, max_completion_tokens=tokens)

    in_flight = []
    for number, block in enumerate(blocks):
        in_flight.append(pool.submit(ask, block, 90_000))
        assert provider.wait_parked(number + 1)
    waiting = [pool.submit(ask, block, 60_000) for block in blocks]
    _wait_for_tickets(payer, 2)
    in_flight_requests = len(provider.requests)
    provider.release()
    for one in (*in_flight, *waiting):
        one.result(timeout=10)
    assert in_flight_requests == 2
    payer.agrees(calls=4)


def test_raising_a_limit_lets_those_who_wait_go_on(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider, pool: ThreadPoolExecutor
) -> None:
    payer = paying(max_budget="1.00", wait=60)
    first = _hold_up(payer, provider, chat, pool)
    waiting = pool.submit(_chat, chat, max_completion_tokens=60_000)
    _wait_for_tickets(payer, 1)
    payer.manager.set_limits(None, 5)
    waiting.result(timeout=10)
    provider.release()
    first.result()
    payer.agrees(calls=2)
