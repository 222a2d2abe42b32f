"""A call that would be refused by its bytes waits for the tokenizer that is being loaded, and is counted by it."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import tiktoken
from encodings_on_disk import KEPT, O200K, needs_encodings

from budgeted import BudgetExceededError, BudgetManager, register_price
from budgeted.pricing import tiktoken_counting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_encodings

MODEL = "gpt-4o"
register_price("counted-by-nobody", input=1, output=1, max_output_tokens=1000)
TEXT = "Hello there, how are you doing today? " * 500
"""19,000 bytes, and 4,500 tokens."""


class Tokenizer:
    """The file of an encoding, as a pipe: whoever loads it waits until the test has its contents come."""

    def __init__(self, cache: Path) -> None:
        self._pipe = cache / O200K
        os.mkfifo(self._pipe)

    def arrives(self, contents: bytes | None = None) -> None:
        """Whoever waits to read it gets it; by default as it is."""
        assert KEPT is not None
        self._pipe.write_bytes((KEPT / O200K).read_bytes() if contents is None else contents)


@pytest.fixture
def tokenizer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Tokenizer]:
    """One that nobody has loaded yet."""
    assert tiktoken_counting.wait_loaded(30)  # or else what another test had loaded would come in here
    for name in ("_loaded", "_encodings"):
        monkeypatch.setattr(tiktoken_counting, name, {})
    monkeypatch.setattr(tiktoken_counting, "_absent", set())
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    yield Tokenizer(tmp_path)
    assert tiktoken_counting.wait_loaded(30)


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager(ledger="memory://", max_budget="10k tokens", wait=60) as made:
        yield made


def ask(manager: BudgetManager, text: str = TEXT, *, model: str = MODEL) -> None:
    """A call of some tokens, that fits."""
    with manager.hold(model, text, 100) as held:
        held.release()


async def ask_async(manager: BudgetManager) -> None:
    async with manager.hold(MODEL, TEXT, 100) as held:
        held.release()


def test_a_call_waits_until_it_can_be_counted(manager: BudgetManager, tokenizer: Tokenizer) -> None:
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(ask, manager) for _ in range(3)]
        tokenizer.arrives()
        for call in calls:
            call.result(timeout=30)


def test_a_coroutine_waits_beside_its_event_loop(manager: BudgetManager, tokenizer: Tokenizer) -> None:
    async def main() -> None:
        calls = [asyncio.create_task(ask_async(manager)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(call.done() for call in calls)
        tokenizer.arrives()
        await asyncio.wait_for(asyncio.gather(*calls), 30)

    asyncio.run(main())


def test_a_coroutine_that_waits_can_be_cancelled(manager: BudgetManager, tokenizer: Tokenizer) -> None:
    async def main() -> None:
        call = asyncio.create_task(ask_async(manager))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(main())
    tokenizer.arrives()  # and wakes a loop that is closed
    ask(manager)


@pytest.mark.parametrize("contents", [b"", b"damaged"])
def test_where_loading_fails_it_is_refused_at_once(
    manager: BudgetManager, tokenizer: Tokenizer, contents: bytes
) -> None:
    with ThreadPoolExecutor() as pool:
        call = pool.submit(ask, manager)
        tokenizer.arrives(contents)
        with pytest.raises(BudgetExceededError):
            call.result(timeout=30)


@pytest.mark.parametrize("seconds", [0, 0.01])
def test_nobody_waits_longer_than_wait_says(manager: BudgetManager, tokenizer: Tokenizer, seconds: float) -> None:
    manager.reconfigure(wait=seconds)
    with pytest.raises(BudgetExceededError):
        ask(manager)
    tokenizer.arrives()


def test_a_count_that_does_not_fit_either_is_refused(manager: BudgetManager, tokenizer: Tokenizer) -> None:
    with ThreadPoolExecutor() as pool:
        call = pool.submit(ask, manager, TEXT * 5)
        tokenizer.arrives()
        with pytest.raises(BudgetExceededError):
            call.result(timeout=30)


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "counted-by-nobody"])
def test_models_that_nobody_can_count_do_not_wait(manager: BudgetManager, tokenizer: Tokenizer, model: str) -> None:
    assert tiktoken_counting.count("", MODEL) is None  # is being loaded
    with pytest.raises(BudgetExceededError):
        ask(manager, model=model)
    tokenizer.arrives()


@pytest.mark.usefixtures("tokenizer")  # which never arrives: nobody may begin to load it
@pytest.mark.parametrize("limit", ["$0.0009", "100 tokens", "99 output tokens"])
def test_where_the_output_alone_does_not_fit_no_count_is_waited_for(limit: str) -> None:
    with (
        BudgetManager(ledger="memory://", max_budget=limit, wait=60, on_exceed="raise") as manager,
        pytest.raises(BudgetExceededError),
    ):
        ask(manager, "Hello")


def test_a_limit_in_calls_waits_for_no_count(manager: BudgetManager, tokenizer: Tokenizer) -> None:
    manager.set_limits(None, "0 calls")
    assert tiktoken_counting.count("", MODEL) is None
    with pytest.raises(BudgetExceededError), manager.hold(MODEL, TEXT, 100):
        pass
    tokenizer.arrives()


def test_a_turn_that_comes_first_is_taken(manager: BudgetManager, tokenizer: Tokenizer) -> None:
    with ThreadPoolExecutor() as pool, manager.hold("counted-by-nobody", "x" * 4_000, 100) as other:
        call = pool.submit(ask, manager, "x" * 9_000)
        wait_in_line(manager)
        other.release()
        call.result(timeout=30)
    tokenizer.arrives()


def test_a_count_that_comes_before_the_turn_is_used(manager: BudgetManager, tokenizer: Tokenizer) -> None:
    with ThreadPoolExecutor() as pool, manager.hold("counted-by-nobody", "x" * 4_000, 100) as other:
        call = pool.submit(ask, manager, TEXT[:9_000])
        wait_in_line(manager)
        tokenizer.arrives()
        call.result(timeout=30)
        other.release()


def wait_in_line(manager: BudgetManager) -> None:
    """Until a call waits its turn."""
    for _ in range(10_000):
        if manager.ledger.turns.waiting:
            return
        threading.Event().wait(0.001)
    pytest.fail("no call waits")
