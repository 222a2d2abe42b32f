"""Streams that a decorated function returns are settled when they end, not when the function does."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any, Self

import pytest

from budgeted import BudgetExceededError, BudgetManager, register_price

MESSAGES = [{"role": "user", "content": "hi"}]
USAGE = {"choices": [], "model": "streamer", "usage": {"prompt_tokens": 50, "completion_tokens": 20_000}}
COST = 0.20005


def chunks() -> list[dict[str, Any]]:
    return [*({"choices": [{"delta": {"content": "word " * 2000}}]} for _ in range(10)), USAGE]


class Wrapper:
    """Iterated, and no iterator itself."""

    colour = "blue"

    def __iter__(self) -> Iterator[Any]:
        return iter(chunks())


class Reader:
    """An iterator with `with` and `close`."""

    def __init__(self) -> None:
        self.items = iter(chunks())
        self.closed = False

    def __iter__(self) -> Reader:
        return self

    def __next__(self) -> Any:
        return next(self.items)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True


async def written() -> AsyncIterator[Any]:
    for chunk in chunks():
        yield chunk


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    register_price("streamer", input=1, output=10, max_output_tokens=100_000)
    with BudgetManager("streams", max_budget="$1", ledger="memory://", wait=0) as manager:
        yield manager
        assert manager.balance().held == 0


def returning(manager: BudgetManager, make: Any) -> Any:
    @manager.budgeted("alice")
    def complete(model: str, messages: Any, max_tokens: int | None = None) -> Any:
        return make()

    return complete("streamer", MESSAGES, max_tokens=20_000)


@pytest.mark.parametrize("make", [Wrapper, Reader])
def test_a_stream_that_is_read_is_charged_what_its_last_chunk_says(manager: BudgetManager, make: Any) -> None:
    stream = returning(manager, make)
    assert manager.balance().held > 0
    assert list(stream) == chunks()
    assert manager.balance().spent == COST
    assert not manager.uncertain()


def test_the_stream_passes_for_what_it_is(manager: BudgetManager) -> None:
    stream = returning(manager, Wrapper)
    assert isinstance(stream, Wrapper)
    assert stream.colour == "blue"
    list(stream)


@pytest.mark.parametrize("kind", ["left", "closed", "with", "forgotten"])
def test_a_stream_that_is_left_is_charged_the_text_that_came(manager: BudgetManager, kind: str) -> None:
    stream = returning(manager, Reader)
    for _ in range(5):
        next(stream)
    if kind == "with":
        with stream:
            pass
    elif kind == "closed":
        stream.close()
        assert stream.closed
    del stream
    gc.collect()
    (charge,) = manager.uncertain()
    assert manager.balance().spent == charge.cost >= 5 * 10_000 / 4 * 10e-6


def test_a_limit_holds_for_streams_that_are_returned(manager: BudgetManager) -> None:
    served = 0
    with pytest.raises(BudgetExceededError):
        while True:
            list(returning(manager, Wrapper))
            served += 1
    assert served == 4
    assert manager.balance().spent <= 1


@pytest.mark.parametrize("plain", [True, False])
def test_an_asynchronous_stream_is_settled_at_its_end(manager: BudgetManager, plain: object) -> None:
    @manager.budgeted("alice")
    def plainly(model: str, messages: Any, max_tokens: int | None = None) -> Any:
        return written()

    @manager.budgeted("alice")
    async def later(model: str, messages: Any, max_tokens: int | None = None) -> Any:
        return written()

    async def main() -> list[Any]:
        if plain:
            stream = plainly("streamer", MESSAGES, max_tokens=20_000)
        else:
            stream = await later("streamer", MESSAGES, max_tokens=20_000)
        assert manager.balance().held > 0
        return [chunk async for chunk in stream]

    assert asyncio.run(main()) == chunks()
    assert manager.balance().spent == COST


def test_a_generator_that_is_left_is_charged_the_text_of_its_chunks(manager: BudgetManager) -> None:
    @manager.budgeted("alice")
    def generate(model: str, messages: Any, max_tokens: int | None = None) -> Iterator[Any]:
        yield from chunks()

    steps = generate("streamer", MESSAGES, max_tokens=20_000)
    for _ in range(10):
        next(steps)
    steps.close()
    assert manager.balance().spent >= 10 * 10_000 / 4 * 10e-6
