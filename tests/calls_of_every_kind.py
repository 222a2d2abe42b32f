"""Every way of making a metered call, so short that each of its bytecodes can be interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import queue as queue_module
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import Any

import openai
from opentelemetry.context import get_current

from budgeted import BudgetExceededError, BudgetManager
from budgeted.ledger import background_worker
from budgeted.metering import after_disconnect, drain, runner
from budgeted.payers import block_figures
from budgeted.payers.block import Budget
from budgeted.telemetry import counters
from budgeted.testing import SimulatedProvider

ASK: dict[str, Any] = {
    "model": "gpt-5-mini",
    "messages": [{"role": "user", "content": "Say something nice about budgets."}],
    "max_completion_tokens": 200,
}
ANSWER = {"model": "gpt-5-mini", "usage": {"prompt_tokens": 12, "completion_tokens": 7}}
HOLD: dict[str, Any] = {"model": "gpt-5-mini", "input": "Hi", "max_output_tokens": 200}

Function = Callable[..., Any]


class Place:
    """Where calls are made: a manager, a provider that bills them, and clients of it.

    Args:
        provider: whom the clients ask.
        settings: of the manager.
    """

    def __init__(self, provider: SimulatedProvider, **settings: Any) -> None:
        self.provider = provider
        self.manager = BudgetManager(**{"max_budget": 1000, "wait": 5, **settings})
        self.blocks: list[Budget] = []
        self.chat = openai.OpenAI(base_url=provider.openai_url, api_key="any", max_retries=0)
        self.loop = asyncio.new_event_loop()
        self.async_chat = openai.AsyncOpenAI(base_url=provider.openai_url, api_key="any", max_retries=0)
        self.context = get_current()
        self.each_await: Callable[[], None] | None = None
        pay = self.manager.budgeted("alice")
        self.answered: Function = pay(_answered)
        self.answered_async: Function = pay(_answered_async)
        self.generated: Function = pay(_generated)
        self.generated_async: Function = pay(_generated_async)
        self.asking: Function = pay(functools.partial(_asking, self))
        self.asking_async: Function = pay(_asking_async(self))
        self.reading: Function = pay(_reading(self))

    def block(self, cap: object = 50, **ahead: Any) -> Budget:
        """A block with a cap, looked at afterwards."""
        block = self.manager.budget("alice", cap=cap, **ahead)
        self.blocks.append(block)
        return block

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine to its end; what it leaves behind is cancelled, as by ``asyncio.run``."""
        try:
            told = self.each_await
            self.loop.run_until_complete(coroutine if told is None else _told(coroutine, told))
        finally:
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            if left:
                self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())

    def locked(self) -> bool:
        """Whether one of the package's locks is taken."""
        ledger = self.manager.ledger
        return (
            block_figures.caps_lock.locked()
            or counters.lock.locked()
            or block_figures.cap_turns.busy()
            or ledger.turns.busy()
            or not ledger.idle()
            or runner._pool_lock.locked()
            or background_worker._upkeep.doing._is_owned()
        )

    def gives_all_locks_back(self) -> bool:
        """Whether every lock can be taken; by others they are kept for an instant only."""
        ledger: Any = self.manager.ledger
        locks = [block_figures.caps_lock, counters.lock, runner._pool_lock, background_worker._upkeep.doing]
        locks += [block_figures.cap_turns._lock, ledger.turns._lock, ledger._lock]
        locks += [ledger._sync_lock] if hasattr(ledger, "_sync_lock") else []
        for lock in locks:
            if not lock.acquire(timeout=10):
                return False
            lock.release()
        return background_worker._upkeep.doing._is_owned() is False

    def shut_out(self) -> bool:
        """Whether other processes find the ledger's lock taken."""
        host = getattr(self.manager.ledger, "_host", None)
        if host is None:
            return False
        with self.manager.ledger._lock, open(host.path) as file:  # none of this process is at it
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def spent(self) -> int:
        """Nano-USD that the manager has recorded."""
        return round(self.manager.balance().spent * 1e9)

    def close(self) -> None:
        """Give up the clients and the ledger."""
        self.chat.close()
        self.loop.run_until_complete(self.async_chat.close())
        self.loop.close()
        self.manager.close()


def _answered(model: str, prompt: str, max_output_tokens: int = 200) -> object:
    return ANSWER


async def _answered_async(model: str, prompt: str, max_output_tokens: int = 200) -> object:
    await asyncio.sleep(0)
    return ANSWER


def _generated(model: str, prompt: str, max_output_tokens: int = 200) -> Iterator[object]:
    yield "one"
    yield ANSWER


async def _generated_async(model: str, prompt: str, max_output_tokens: int = 200) -> AsyncIterator[object]:
    yield "one"
    await asyncio.sleep(0)
    yield ANSWER


def _asking(place: Place, model: str, messages: object, max_completion_tokens: int) -> object:
    return place.chat.chat.completions.create(**ASK)


def _asking_async(place: Place) -> Function:
    async def ask(model: str, messages: object, max_completion_tokens: int) -> object:
        return await place.async_chat.chat.completions.create(**ASK)

    return ask


def _reading(place: Place) -> Function:
    def read(model: str, messages: object, max_completion_tokens: int) -> Iterator[object]:
        yield from place.chat.chat.completions.create(**ASK, stream=True)

    return read


@types.coroutine
def _told(coroutine: Coroutine[Any, Any, None], told: Callable[[], None]) -> Generator[Any, Any, None]:
    """Run a coroutine; ``told`` is called whenever it begins to wait."""
    send, value = coroutine.send, None
    while True:
        try:
            waited = send(value)
        except StopIteration:
            return
        told()
        try:
            value = yield waited
            send = coroutine.send
        except BaseException as error:  # noqa: BLE001 - the coroutine's own
            send, value = coroutine.throw, error  # type: ignore[assignment]


# -- the ways


def plain(place: Place) -> None:
    with place.block():
        place.chat.chat.completions.create(**ASK)


def plain_async(place: Place) -> None:
    async def main() -> None:
        async with place.block():
            await place.async_chat.chat.completions.create(**ASK)

    place.run(main())


def stream(place: Place) -> None:
    with place.block():
        for _ in place.chat.chat.completions.create(**ASK, stream=True):
            pass


def stream_async(place: Place) -> None:
    async def main() -> None:
        async with place.block():
            async for _ in await place.async_chat.chat.completions.create(**ASK, stream=True):
                pass

    place.run(main())


def stream_left(place: Place) -> None:
    with place.block(), place.chat.chat.completions.create(**ASK, stream=True) as parts:
        next(iter(parts))


def stream_closed(place: Place) -> None:
    with place.block():
        parts = place.chat.chat.completions.create(**ASK, stream=True)
        try:
            next(iter(parts))
        finally:
            parts.close()


def stream_forgotten(place: Place) -> None:
    with place.block():
        next(iter(place.chat.chat.completions.create(**ASK, stream=True)))


def stream_left_async(place: Place) -> None:
    async def main() -> None:
        async with place.block(), await place.async_chat.chat.completions.create(**ASK, stream=True) as parts:
            await anext(aiter(parts))

    place.run(main())


def stream_read_on(place: Place) -> None:
    """Left, where the provider goes on and bills it: the rest is read beside the application."""
    with _goes_on():
        stream_left(place)


def stream_read_on_async(place: Place) -> None:
    async def main() -> None:
        async with place.block():
            async with await place.async_chat.chat.completions.create(**ASK, stream=True) as parts:
                await anext(aiter(parts))
            await asyncio.to_thread(drain.finish, 10)

    with _goes_on():
        place.run(main())


@contextlib.contextmanager
def _goes_on() -> Iterator[None]:
    after_disconnect.BY_HOST["127.0.0.1"] = after_disconnect.GOES_ON
    try:
        yield
    finally:
        after_disconnect.BY_HOST.pop("127.0.0.1", None)


def failing(place: Place) -> None:
    """Refused by the provider."""
    with place.block(), contextlib.suppress(openai.APIStatusError):
        place.chat.chat.completions.create(**ASK, extra_headers={"x-simulate": '{"status": 500}'})


def decorated(place: Place) -> None:
    with place.block():
        place.answered("gpt-5-mini", "Hi")


def decorated_async(place: Place) -> None:
    async def main() -> None:
        async with place.block():
            await place.answered_async("gpt-5-mini", "Hi")

    place.run(main())


def decorated_generator(place: Place) -> None:
    with place.block():
        list(place.generated("gpt-5-mini", "Hi"))


def decorated_generator_left(place: Place) -> None:
    with place.block():
        for _ in place.generated("gpt-5-mini", "Hi"):
            break


def decorated_async_generator(place: Place) -> None:
    async def main() -> None:
        async with place.block():
            async for _ in place.generated_async("gpt-5-mini", "Hi"):
                pass

    place.run(main())


def taken_over(place: Place) -> None:
    """A decorated function whose hold the call inside takes over."""
    with place.block():
        place.asking(**ASK)


def taken_over_async(place: Place) -> None:
    async def main() -> None:
        async with place.block():
            await place.asking_async(**ASK)

    place.run(main())


def taken_over_stream(place: Place) -> None:
    with place.block():
        for _ in place.reading(**ASK):
            pass


def hold(place: Place) -> None:
    with place.block(), place.manager.hold(**HOLD) as held:
        held.settle(usage={"input_tokens": 3, "output_tokens": 4})


def hold_left(place: Place) -> None:
    with place.block(), place.manager.hold(**HOLD) as held:
        held.add("some text")


def hold_async(place: Place) -> None:
    async def main() -> None:
        async with place.block(), place.manager.hold(**HOLD) as held:
            held.settle(cost="0.0001")

    place.run(main())


def set_aside(place: Place) -> None:
    """In a block that takes its cap out of the one around it."""
    with place.manager.budget(cap=50), place.block(5, reserve=True, repeat_limit=9):
        place.answered("gpt-5-mini", "Hi")


def set_aside_async(place: Place) -> None:
    async def main() -> None:
        around = place.manager.budget(cap="50 + 9 calls")
        async with around, place.block(5, reserve=True):
            await place.answered_async("gpt-5-mini", "Hi")

    place.run(main())


def refused(place: Place) -> None:
    with place.block(cap="0.000001"), contextlib.suppress(BudgetExceededError):
        place.answered("gpt-5-mini", "Hi")


class _Turn(queue_module.SimpleQueue[None]):
    """A turn that comes when it is waited for: what is in the way ends then."""

    in_the_way: Callable[[], None]

    def get(self, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT002
        type(self).in_the_way()
        return super().get(block=False)


def queue(place: Place) -> None:
    """Waits in the queue of a block's cap until the call in its way has ended."""
    with place.block(cap="0.0005"):
        first = place.manager.hold(cost="0.0004")
        with first:
            queues, _Turn.in_the_way = runner.queue, staticmethod(first.release)
            runner.queue = _Queues(queues)  # type: ignore[assignment]
            try:
                place.answered("gpt-5-mini", "Hi")
            finally:
                runner.queue = queues
                first.release()


class _Queues:
    SimpleQueue = _Turn

    def __init__(self, queues: Any) -> None:
        self._queues = queues

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queues, name)


class _Bell:
    """A bell whose turn comes when it is waited for: what is in the way ends then."""

    def __init__(self, bell: Any, release: Callable[[], None]) -> None:
        self._bell, self._release = bell, release
        self.now, self.ring = bell.now, bell.ring

    async def heard(self, seconds: float | None = None) -> None:
        self._release()
        await self._bell.heard(seconds)


def queue_async(place: Place) -> None:
    async def main() -> None:
        async with place.block(cap="0.0005"):
            first = place.manager.hold(cost="0.0004")
            with first:
                bell = runner.bell
                runner.bell = lambda: _Bell(bell(), first.release)  # type: ignore[assignment, return-value]
                try:
                    await place.answered_async("gpt-5-mini", "Hi")
                finally:
                    runner.bell = bell
                    first.release()

    place.run(main())


def executor(place: Place) -> None:
    """By the executor that does what could block a coroutine's loop."""

    async def main() -> None:
        async with place.block():
            await place.answered_async("gpt-5-mini", "Hi")

    ledger = place.manager.ledger
    ledger.remote = True
    try:
        place.run(main())
    finally:
        ledger.remote = False


WAYS: dict[str, Callable[[Place], None]] = {
    way.__name__: way
    for way in (
        *(plain, plain_async, stream, stream_async, stream_left, stream_closed, stream_forgotten, stream_left_async),
        *(stream_read_on, stream_read_on_async, failing, decorated, decorated_async, decorated_generator),
        *(decorated_generator_left, decorated_async_generator, taken_over, taken_over_async, taken_over_stream),
        *(hold, hold_left, hold_async, set_aside, set_aside_async, refused, queue, queue_async, executor),
    )
}
