"""Streams that a decorated function returns are settled when they end, not when the function does."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any, Self

import pytest
import wrapt

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


async def written_soon() -> Iterator[Any]:
    return (chunk for chunk in chunks())


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


# -- what a coroutine returns


def test_a_generator_that_a_coroutine_returns_is_settled_at_its_end(manager: BudgetManager) -> None:
    @manager.budgeted("alice")
    async def complete(model: str, messages: Any, max_tokens: int | None = None) -> Iterator[Any]:
        return (chunk for chunk in chunks())

    later = manager.budgeted("alice")(lambda model, messages, max_tokens: written_soon())
    for ask in (complete, later):
        before = manager.balance().spent
        steps: Any = asyncio.run(ask("streamer", MESSAGES, max_tokens=20_000))
        assert inspect.isgenerator(steps)
        assert manager.balance().held > 0
        assert list(steps) == chunks()
        assert manager.balance().spent == pytest.approx(before + COST)
    assert manager.uncertain() == []


# -- generators and coroutines that never begin


def made(manager: BudgetManager) -> Any:
    """A generator that a plain function returned, which may have sent its request already."""

    @manager.budgeted("alice")
    def complete(model: str, messages: Any, max_tokens: int | None = None) -> Iterator[Any]:
        return (chunk for chunk in chunks())

    steps = complete("streamer", MESSAGES, max_tokens=20_000)
    assert inspect.isgenerator(steps)
    assert manager.balance().held > 0
    return steps


def drop(steps: list[Any]) -> None:
    steps.clear()


def drop_in_a_cycle(steps: list[Any]) -> None:
    cycle: list[Any] = [steps.pop()]
    cycle.append(cycle)
    del cycle
    gc.collect()


def close(steps: list[Any]) -> None:
    steps[0].close()
    assert next(steps[0], None) is None


def throw(steps: list[Any]) -> None:
    with pytest.raises(KeyError):
        steps[0].throw(KeyError("x"))


@pytest.mark.parametrize("end", [drop, drop_in_a_cycle, close, throw])
def test_a_generator_that_never_began_gives_its_hold_back_at_once(manager: BudgetManager, end: Any) -> None:
    steps = [made(manager)]
    end(steps)
    assert manager.balance().held == 0
    assert 0 < manager.balance().spent < COST
    assert [one.cost for one in manager.uncertain()] == [manager.balance().spent]


def test_a_generator_is_read_and_settled_as_if_it_had_not_begun(manager: BudgetManager) -> None:
    assert list(made(manager)) == chunks()
    assert manager.balance().spent == COST


def test_nothing_is_sent_into_a_generator_that_has_not_begun(manager: BudgetManager) -> None:
    with pytest.raises(TypeError, match="just-started generator"):
        made(manager).send("too early")


def begun(steps: Iterator[Any]) -> Iterator[Any]:
    next(steps)
    return steps


def test_a_generator_that_fails_when_it_is_closed_leaves_no_hold(manager: BudgetManager) -> None:
    def failing() -> Iterator[str]:
        try:
            yield "begun"
            yield "left"
        finally:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        returning(manager, lambda: begun(failing())).close()
    assert manager.balance().held == 0
    assert len(manager.uncertain()) == 1


def test_a_generator_may_catch_what_is_thrown_into_it_first(manager: BudgetManager) -> None:
    def catching() -> Iterator[Any]:
        try:
            yield "begun"
        except ZeroDivisionError:
            yield "caught"
        yield USAGE

    steps = returning(manager, lambda: begun(catching()))
    assert steps.throw(ZeroDivisionError()) == "caught"
    assert list(steps) == [USAGE]
    assert manager.balance().spent == COST


def test_a_stream_outlives_the_awaitable_that_it_came_from(manager: BudgetManager) -> None:
    async def send() -> Wrapper:
        return Wrapper()

    complete = manager.budgeted("alice")(lambda model, messages, max_tokens=None: send())
    stream = asyncio.run(complete("streamer", MESSAGES, 20_000))
    gc.collect()
    assert manager.balance().held > 0
    assert list(stream) == chunks()
    assert manager.balance().spent == COST


def test_an_awaitable_that_is_never_awaited_gives_its_hold_back(manager: BudgetManager) -> None:
    async def send(model: str, messages: Any, max_tokens: int | None = None) -> Any:
        return USAGE

    complete = manager.budgeted("alice")(lambda model, messages, max_tokens=None: send(model, messages, max_tokens))

    async def main() -> None:
        task = asyncio.create_task(complete("streamer", MESSAGES, 20_000))
        assert manager.balance().held > 0
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with pytest.warns(RuntimeWarning, match="never awaited"):
        asyncio.run(main())
    gc.collect()
    assert manager.balance().held == manager.balance().spent == 0


def test_a_future_that_is_never_awaited_may_have_been_sent(manager: BudgetManager) -> None:
    async def main() -> None:
        @manager.budgeted("alice")
        def complete(model: str, messages: Any, max_tokens: int | None = None) -> Any:
            return asyncio.get_running_loop().create_future()

        complete("streamer", MESSAGES, max_tokens=20_000).close()
        gc.collect()

    asyncio.run(main())
    assert manager.balance().held == 0
    assert len(manager.uncertain()) == 1


# -- proxies of other tools


def test_an_answer_behind_a_proxy_is_settled_at_once(manager: BudgetManager) -> None:
    answer = returning(manager, lambda: wrapt.ObjectProxy(USAGE))
    assert answer == USAGE
    assert type(answer) is wrapt.ObjectProxy
    assert manager.balance().held == 0
    assert manager.balance().spent == COST


def test_a_stream_behind_a_proxy_is_settled_when_it_is_read(manager: BudgetManager) -> None:
    stream = returning(manager, lambda: wrapt.ObjectProxy(Wrapper()))
    assert manager.balance().held > 0
    assert list(stream) == chunks()
    assert manager.balance().spent == COST
