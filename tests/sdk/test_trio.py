"""Coroutines that trio runs, not asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from paying import MESSAGES

from budgeted import BudgetExceededError
from budgeted.testing import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    import openai
    from paying import Paying

    from budgeted.testing import SimulatedProvider

pytestmark = [
    pytest.mark.sdk,
    pytest.mark.parametrize("ledger", ["memory://", None, "sqlite"]),
    pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning"),  # the SDK's own
]

ASK: dict[str, Any] = {"model": "gpt-5-mini", "messages": MESSAGES, "max_completion_tokens": 40_000}
"""Eight cents, at most."""


@pytest.fixture
def payer(ledger: str | None, paying: Callable[..., Paying], tmp_path: Any) -> Paying:
    """A manager with room for one call at a time."""
    return paying(max_budget="0.10", ledger=f"sqlite:///{tmp_path}/spend.db" if ledger == "sqlite" else ledger)


def test_calls_wait_their_turn_and_each_is_an_exact_charge(payer: Paying, async_chat: openai.AsyncOpenAI) -> None:
    async def call(*, stream: bool) -> None:
        answer = await async_chat.chat.completions.create(**ASK, stream=stream)
        if stream:
            async for _ in answer:
                pass

    async def main() -> None:
        async with async_chat, payer.block(), trio.open_nursery() as nursery:
            for stream in (False, True, False, True):
                nursery.start_soon(lambda stream=stream: call(stream=stream))

    trio.run(main)
    payer.agrees(calls=4)


def test_what_does_not_fit_is_refused(payer: Paying, async_chat: openai.AsyncOpenAI) -> None:
    payer.manager.reconfigure(wait=0.01)

    async def main() -> None:
        async with async_chat, payer.block(), payer.manager.hold(cost=0.05) as held:
            with pytest.raises(BudgetExceededError):
                await async_chat.chat.completions.create(**ASK)
            held.release()

    trio.run(main)
    payer.agrees(calls=0)


def test_a_task_cancelled_while_it_waits_or_while_its_call_is_out_leaves_nothing_open(
    payer: Paying, async_chat: openai.AsyncOpenAI, provider: SimulatedProvider
) -> None:
    provider.queue(Reply(hang=True))
    turns = payer.manager.ledger.turns

    async def call() -> None:
        async with payer.block():
            await async_chat.chat.completions.create(**ASK)

    async def main() -> None:
        async with async_chat, trio.open_nursery() as nursery:
            nursery.start_soon(call)
            assert await trio.to_thread.run_sync(provider.wait_parked)
            nursery.start_soon(call)
            while not turns.waiting:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

    trio.run(main)
    provider.release()
    [charge] = payer.guessed()
    assert charge.reason == "cancelled after sending"
