"""However many threads, tasks and processes share one dollar, they spend at most one, and record what was billed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import openai
import pytest
from paying import MESSAGES

from budgeted import BudgetExceededError, BudgetManager
from budgeted.testing import SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path

    from paying import Paying

pytestmark = pytest.mark.sdk

DOLLAR = 10**9
ASK: dict[str, Any] = {"model": "gpt-4o", "messages": MESSAGES}  # 10 USD per million output tokens
WORKERS = 50
LEDGERS = pytest.mark.parametrize("ledger", ["memory://", None], ids=["memory", "file"])


@LEDGERS
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_fifty_threads_spend_at_most_one_dollar(
    stream: bool,
    ledger: str | None,
    paying: Callable[..., Paying],
    chat: openai.OpenAI,
    provider: SimulatedProvider,
    pool: ThreadPoolExecutor,
) -> None:
    payer = paying(max_budget=1, ledger=ledger, default_user_limits="$0.40")
    provider.reply(output_tokens=1500, pieces=3)

    def work(number: int) -> int:
        refused = 0
        for _ in range(3):
            try:
                with payer.block(f"user{number % 3}"):
                    list(chat.chat.completions.create(**ASK, stream=stream))
            except BudgetExceededError:
                refused += 1
        return refused

    refused = sum(pool.map(work, range(WORKERS)))
    _spent_at_most_a_dollar(payer, refused, calls=WORKERS * 3)
    assert sum(block.refused for block in payer.blocks) == refused
    for user in payer.manager.get_users():
        assert payer.manager.get_current_cost(user) <= 0.40


@LEDGERS
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_fifty_tasks_spend_at_most_one_dollar(
    stream: bool,
    ledger: str | None,
    paying: Callable[..., Paying],
    async_chat: openai.AsyncOpenAI,
    provider: SimulatedProvider,
) -> None:
    payer = paying(max_budget=1, ledger=ledger, default_user_limits="$0.40")
    provider.reply(output_tokens=1500, pieces=3)

    async def work(number: int) -> int:
        refused = 0
        for _ in range(3):
            try:
                async with payer.block(f"user{number % 3}"):
                    answer = await async_chat.chat.completions.create(**ASK, stream=stream)
                    if stream:
                        async for _ in answer:
                            pass
            except BudgetExceededError:
                refused += 1
        return refused

    async def main() -> int:
        async with async_chat:
            return sum(await asyncio.gather(*map(work, range(WORKERS))))

    _spent_at_most_a_dollar(payer, asyncio.run(main()), calls=WORKERS * 3)


def _spent_at_most_a_dollar(payer: Paying, refused: int, calls: int) -> None:
    provider = payer.provider
    assert provider.wait_idle()
    assert payer.spent == provider.billed_nano() <= DOLLAR
    assert payer.charges() == len(provider.bill) == len(provider.requests) == calls - refused
    assert payer.manager.uncertain() == []
    by_user = payer.manager.report("user")
    assert round(sum(row.spent for row in by_user.values()) * 1e9) == payer.spent
    assert sum(row.calls for row in by_user.values()) == calls - refused
    # Most of it is spent, as nobody is refused while calls in flight may leave room.
    assert payer.spent > 0.9 * DOLLAR


@LEDGERS
def test_holds_never_pass_the_limit_while_calls_are_in_flight(
    ledger: str | None,
    paying: Callable[..., Paying],
    chat: openai.OpenAI,
    provider: SimulatedProvider,
    pool: ThreadPoolExecutor,
) -> None:
    payer = paying(max_budget=1, ledger=ledger, wait=0)
    provider.reply(hang=True, output_tokens=2000)

    def work(_: int) -> bool:
        try:
            chat.chat.completions.create(**ASK, max_completion_tokens=3000)
        except BudgetExceededError:
            return False
        return True

    asked = [pool.submit(work, number) for number in range(WORKERS)]
    assert provider.wait_parked(33)
    balance = payer.manager.balance()
    assert 0.95 < balance.held <= 1.0
    assert sum(held.usd for held in payer.manager.ledger.open_holds()) == round(balance.held * 1e9) <= DOLLAR
    while sum(one.done() for one in asked) < WORKERS - 33:
        pass
    provider.release()
    assert sum(one.result() for one in asked) == 33
    payer.agrees(calls=33)


def test_threads_and_tasks_of_several_loops_share_one_dollar(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider, pool: ThreadPoolExecutor
) -> None:
    payer = paying(max_budget=1, ledger=None)
    provider.reply(output_tokens=2500)

    def in_thread(number: int) -> int:
        try:
            with payer.block(f"user{number}"):
                chat.chat.completions.create(**ASK)
        except BudgetExceededError:
            return 1
        return 0

    def in_loop(number: int) -> int:
        async def one(client: openai.AsyncOpenAI) -> int:
            try:
                async with payer.block(f"user{number}"):
                    await client.chat.completions.create(**ASK)
            except BudgetExceededError:
                return 1
            return 0

        async def main() -> int:
            async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="any", max_retries=0) as client:
                return sum(await asyncio.gather(*(one(client) for _ in range(10))))

        return asyncio.run(main())

    threads = [pool.submit(in_thread, number) for number in range(20)]
    loops = [pool.submit(in_loop, number) for number in range(3)]
    refused = sum(one.result() for one in (*threads, *loops))
    _spent_at_most_a_dollar(payer, refused, calls=50)


WORKER = """
import sys, threading
import openai
from budgeted import BudgetExceededError, BudgetManager

url, folder, name = sys.argv[1:]
manager = BudgetManager("shared", ledger=folder, max_budget=1, wait=20)
client = openai.OpenAI(base_url=url, api_key="any", max_retries=0)
sent = refused = 0
lock = threading.Lock()

def work(number):
    global sent, refused
    for _ in range(2):
        try:
            with manager.budget(f"{name}-{number % 3}"):
                client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
            with lock:
                sent += 1
        except BudgetExceededError:
            with lock:
                refused += 1

threads = [threading.Thread(target=work, args=(number,)) for number in range(25)]
for thread in threads: thread.start()
for thread in threads: thread.join()
manager.close()
print(sent, refused)
"""


@pytest.mark.slow
def test_four_processes_of_25_threads_spend_at_most_one_dollar(tmp_path: Path) -> None:
    with SimulatedProvider.spawn() as provider:
        provider.reply(output_tokens=1200)
        command = [sys.executable, "-c", WORKER, provider.openai_url, str(tmp_path / "ledger")]
        processes = [
            subprocess.Popen([*command, f"process{number}"], stdout=subprocess.PIPE, text=True) for number in range(4)
        ]
        told = [process.communicate(timeout=170)[0].split() for process in processes]
        assert [process.returncode for process in processes] == [0] * 4
        sent = sum(int(one[0]) for one in told)
        assert sent + sum(int(one[1]) for one in told) == 200
        assert provider.wait_idle()
        with BudgetManager("shared", ledger=tmp_path / "ledger") as manager:
            assert manager.ledger.open_holds() == []
            assert manager.uncertain() == []
            assert len(provider.bill) == sent == manager.report("model")["gpt-4o"].calls
            assert round(manager.balance().spent * 1e9) == provider.billed_nano() <= DOLLAR
            assert provider.billed_nano() > 0.9 * DOLLAR
