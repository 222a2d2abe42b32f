"""Reading the rest of a stream that was left, beside the application, where its provider goes on and bills it in full.

So its bill is known. Bounded in number and in time: what is over that is charged all it held.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

from budgeted.ledger import background_worker
from budgeted.metering.after_disconnect import GOES_ON
from budgeted.metering.call import Call
from budgeted.metering.owner import end_anywhere

if TYPE_CHECKING:
    import asyncio

MOST: Final = 64
"""Streams that are read at a time, each with a connection of its own."""

SECONDS: Final = 120.0
"""The longest that one is read."""

_running: set[object] = set()
_tasks: dict[LeftStream, asyncio.Task[None]] = {}
_idle = threading.Condition()


class LeftStream(Protocol):
    """A stream whose reader has left: where the rest comes from, who reads it, and how it is closed."""

    call: Call
    source: Iterator[object] | AsyncIterator[object] | None
    feed: Callable[[Any], object]
    close: Callable[[], object] | None
    aclose: Callable[[], Awaitable[object]] | None
    draining: bool

    def outcome(self, error: BaseException | None, *, at_end: bool) -> Callable[[float | None], None]:
        """How the call ends."""

    def let_go(self) -> None:
        """Forget the response that was read."""


def begin(stream: LeftStream) -> bool:
    """Read the rest from now on, if its provider bills it anyway; False where it does not, or it cannot be read.

    May be called by a finaliser: it takes no lock that such a one may find taken.
    """
    source = stream.source
    if source is None or len(_running) >= MOST or stream.call.after_disconnect() != GOES_ON:
        return False
    if isinstance(source, AsyncIterator):
        loop = _running_loop()
        if loop is None:  # it can be read nowhere but there
            return False
        reading = functools.partial(_read_beside, stream, source, loop)
    else:
        reading = functools.partial(background_worker.enqueue, functools.partial(_start, stream, source))
    try:
        stream.draining = True
        _running.add(stream)
        reading()
    except BaseException:  # a signal's handler has raised: perhaps nobody reads
        background_worker.enqueue(functools.partial(_end, stream, GeneratorExit()))
        raise
    return True


def _read_beside(stream: LeftStream, source: AsyncIterator[object], loop: asyncio.AbstractEventLoop) -> None:
    task = loop.create_task(_read_async(stream, source))
    _tasks[stream] = task
    # For one that is cancelled before its first step, of which no line runs.
    task.add_done_callback(lambda _: _end_unread(stream))
    background_worker.wanted(_loops)


def _end_unread(stream: LeftStream) -> None:
    if stream in _tasks:
        _end_soon(stream, GeneratorExit())


def _end_soon(stream: LeftStream, error: BaseException | None) -> None:
    background_worker.enqueue(functools.partial(_end, stream, error))
    _tasks.pop(stream, None)  # not before: an exception of a signal's handler may strike in between


class _Loops:
    """Ends the streams that nobody reads any more: their loop is closed, or a signal's handler has struck their end."""

    def upkeep(self) -> float | None:
        for stream, task in list(_tasks.items()):
            if task.done() or task.get_loop().is_closed():
                _end_unread(stream)
        return background_worker.PERIOD if _tasks else None


_loops = _Loops()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    loaded = sys.modules.get("asyncio")  # whose coroutine this is has loaded it; under trio nobody has
    try:
        return None if loaded is None else loaded.get_running_loop()
    except RuntimeError:
        return None


def _start(stream: LeftStream, source: Iterator[object]) -> None:
    try:
        threading.Thread(target=_read, args=(stream, source), name="budgeted-drain", daemon=True).start()
    except RuntimeError:  # the interpreter is going down
        _end(stream, GeneratorExit())


def _read(stream: LeftStream, source: Iterator[object]) -> None:
    error: BaseException | None = GeneratorExit()
    deadline = time.monotonic() + SECONDS
    try:
        for data in source:
            stream.feed(data)
            if time.monotonic() > deadline:
                break
        else:
            error = None
    except Exception as failed:  # noqa: BLE001 - whatever breaks it, the call is charged all it held
        error = failed
    finally:
        with contextlib.suppress(Exception):
            if stream.close is not None:
                stream.close()
        _end(stream, error)


async def _read_async(stream: LeftStream, source: AsyncIterator[object]) -> None:
    import asyncio  # by whom this is run, so that it is loaded already

    error: BaseException | None = GeneratorExit()
    try:
        async with asyncio.timeout(SECONDS):
            async for data in source:
                stream.feed(data)
        error = None
    except BaseException as failed:
        error = failed
        if not isinstance(failed, Exception):  # its loop ends
            raise
    finally:
        try:
            with contextlib.suppress(Exception):
                if stream.aclose is not None:
                    await stream.aclose()
        finally:  # whatever has cancelled that
            _end_soon(stream, error)


def _end(stream: LeftStream, error: BaseException | None) -> None:
    try:
        end_anywhere(stream.call, stream.outcome(error, at_end=error is None))
    finally:
        stream.draining = False  # not before its call has ended: who closes it again would end it otherwise
        stream.let_go()
        with _idle:
            _running.discard(stream)
            _idle.notify_all()


def finish(seconds: float) -> bool:
    """Wait until nothing is being read; False if that takes longer."""
    with _idle:
        return _idle.wait_for(lambda: not _running, seconds)


def _after_fork() -> None:
    """A child reads nothing of its parent's."""
    global _idle  # noqa: PLW0603
    _idle = threading.Condition()
    _running.clear()
    _tasks.clear()
