"""A stream left early: hard means hard, whether its provider goes on and bills in full, or stops with its reader."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import openai
import pytest
from paying import MESSAGES

from budgeted import BudgetExceededError
from budgeted.ledger import background_worker
from budgeted.metering import after_disconnect, drain

if TYPE_CHECKING:
    from collections.abc import Callable

    from paying import Paying

    from budgeted.testing import SimulatedProvider

pytestmark = [pytest.mark.sdk, pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")]

ASK: dict[str, Any] = {"model": "gpt-4o", "messages": MESSAGES, "stream": True, "max_tokens": 9900}
DOLLAR = 10**9


@pytest.fixture(params=[after_disconnect.STOPS, after_disconnect.GOES_ON, after_disconnect.UNKNOWN])
def behaviour(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, provider: SimulatedProvider) -> str:
    """What the provider on loopback does when a reader leaves, and is known to do."""
    known: str = request.param
    monkeypatch.setitem(after_disconnect.BY_HOST, "127.0.0.1", known)
    stops = known == after_disconnect.STOPS
    provider.reply(output_tokens=9900, pieces=9900 if stops else 20, gate_after=1 if stops else None, stops=stops)
    return known


def settled() -> None:
    """Everything that is read or booked beside the application has been."""
    background_worker.drain()
    assert drain.finish(30)
    background_worker.drain()


def sixty(open_one: Callable[[], object]) -> int:
    """Try sixty times; returns how often it was sent."""
    sent = 0
    for _ in range(60):
        with contextlib.suppress(BudgetExceededError):
            open_one()
            sent += 1
        settled()
    return sent


def test_sixty_streams_left_after_their_first_chunk_never_bill_more_than_the_limit(
    behaviour: str, paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget=1, wait=0)

    def leave() -> None:
        with payer.block(), chat.chat.completions.create(**ASK) as stream:
            next(iter(stream))

    sent = sixty(leave)
    assert provider.wait_idle()
    assert 0 < provider.billed_nano() <= payer.spent <= DOLLAR
    assert sent == len(provider.bill)
    if behaviour == after_disconnect.GOES_ON:
        assert payer.spent == provider.billed_nano()
        assert payer.manager.uncertain() == []
    else:
        assert len(payer.manager.uncertain()) == sent
        assert (sent == 60) == (behaviour == after_disconnect.STOPS)


def test_asynchronous_streams_left_early_are_read_to_their_end_where_they_are_billed_anyway(
    monkeypatch: pytest.MonkeyPatch,
    payer: Paying,
    async_chat: openai.AsyncOpenAI,
    provider: SimulatedProvider,
) -> None:
    monkeypatch.setitem(after_disconnect.BY_HOST, "127.0.0.1", after_disconnect.GOES_ON)
    provider.reply(output_tokens=900, pieces=20)

    async def main() -> None:
        async with async_chat:
            async with payer.block(), await async_chat.chat.completions.create(**ASK) as stream:
                await anext(aiter(stream))
            assert await asyncio.to_thread(drain.finish, 30)

    asyncio.run(main())
    settled()
    payer.agrees(1)


def test_a_stream_that_is_forgotten_is_charged_all_it_held_or_what_it_really_cost(
    behaviour: str, payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    with payer.block():
        stream = chat.chat.completions.create(**ASK)
        next(iter(stream))
        del stream
    gc.collect()
    settled()
    assert provider.wait_idle()
    assert payer.spent >= provider.billed_nano() > 0
    assert payer.manager.balance().held == 0


def test_a_client_that_is_closed_meanwhile_leaves_the_whole_hold(
    monkeypatch: pytest.MonkeyPatch, payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    monkeypatch.setitem(after_disconnect.BY_HOST, "127.0.0.1", after_disconnect.GOES_ON)
    provider.reply(output_tokens=900, pieces=20, gate_after=1)
    with payer.block():
        stream = chat.chat.completions.create(**ASK)
        next(iter(stream))
        stream.close()
        background_worker.drain()
        provider.release()
        chat.close()
    settled()
    assert provider.wait_idle()
    assert payer.spent >= provider.billed_nano()


def test_a_timeout_is_charged_all_it_held(
    monkeypatch: pytest.MonkeyPatch, payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    monkeypatch.setitem(after_disconnect.BY_HOST, "127.0.0.1", after_disconnect.STOPS)
    provider.reply(hang=True)
    with payer.block(), pytest.raises(openai.APITimeoutError):
        chat.with_options(timeout=0.3, max_retries=0).chat.completions.create(**{**ASK, "stream": False})
    (charge,) = payer.manager.uncertain()
    assert charge.cost == charge.held > 0.099


def _closed(stream: Any) -> None:
    next(iter(stream))
    stream.close()


def _read(stream: Any) -> None:
    list(stream)


def _forgotten(stream: Any) -> None:
    next(iter(stream))


@pytest.mark.parametrize("leave", [_closed, _read, _forgotten])
@pytest.mark.parametrize("goes_on", [False, True], ids=["stops", "goes on"])
def test_nothing_is_kept_of_a_stream_that_has_ended(
    leave: Callable[[Any], None],
    goes_on: bool,
    payer: Paying,
    chat: openai.OpenAI,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if goes_on:
        monkeypatch.setitem(after_disconnect.BY_HOST, "127.0.0.1", after_disconnect.GOES_ON)
    with payer.block():
        stream = chat.chat.completions.create(model="gpt-5-mini", messages=MESSAGES, stream=True)
        kept = weakref.ref(stream.response)
        leave(stream)
        del stream
    gc.collect()  # ends what was forgotten
    assert drain.finish(30)
    for thread in threading.enumerate():  # what has read the rest may be about to end as yet
        if thread.name == "budgeted-drain":
            thread.join()
    payer.manager.flush()
    gc.collect()
    assert kept() is None
