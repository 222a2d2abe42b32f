"""How a call or a stream can end: what the provider does, what the caller does, and what must have been recorded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

AS_USUAL: Mapping[str, Any] = MappingProxyType({})
PIECES = {"output_tokens": 40, "pieces": 40}
PARKED = {**PIECES, "gate_after": 8}


class Ending(NamedTuple):
    """One column.

    Attributes:
        name: what the table calls it.
        reply: how the provider answers.
        exact: whether the provider has said what it bills before the end.
        leave: what a caller does with a stream; gives False if the stream has no such way of being left.
        aleave: the same for an asynchronous stream.
        settings: of the manager that pays.
    """

    name: str
    reply: Mapping[str, Any] = AS_USUAL
    exact: bool = True
    leave: Callable[[Any], bool | None] | None = None
    aleave: Callable[[Any], Any] | None = None
    settings: Mapping[str, Any] = AS_USUAL


def _read(stream: Any) -> None:
    for _ in stream:
        pass


async def _aread(stream: Any) -> None:
    async for _ in stream:
        pass


def _unable(stream: Any) -> bool:
    _break(stream)
    return False


async def _aunable(stream: Any) -> bool:
    await _abreak(stream)
    return False


def _break(stream: Any) -> None:
    for _ in stream:
        break


async def _abreak(stream: Any) -> None:
    async for _ in stream:
        break


def _close(stream: Any) -> bool:
    if not hasattr(stream, "close"):
        return _unable(stream)
    _break(stream)
    stream.close()
    return True


async def _aclose(stream: Any) -> bool:
    close = getattr(stream, "aclose", None) or getattr(stream, "close", None)
    if close is None:
        return await _aunable(stream)
    await _abreak(stream)
    await close()
    return True


def _with(stream: Any) -> bool:
    if not hasattr(stream, "__enter__"):
        return _unable(stream)
    with stream:
        _break(stream)
    return True


async def _awith(stream: Any) -> bool:
    if not hasattr(stream, "__aenter__"):
        return await _aunable(stream)
    async with stream:
        await _abreak(stream)
    return True


def _unread(stream: Any) -> None:
    del stream


async def _aunread(stream: Any) -> None:
    del stream


def _raise(stream: Any) -> None:
    with contextlib.suppress(ZeroDivisionError):
        for _ in stream:
            raise ZeroDivisionError


async def _araise(stream: Any) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async for _ in stream:
            raise ZeroDivisionError


async def _acancel(stream: Any) -> None:
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in stream:
            begun.set()

    reading = asyncio.create_task(read())
    await begun.wait()
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading


STREAMS = (
    Ending("read", AS_USUAL, True, _read, _aread),
    Ending("gzip", {"gzip": True}, True, _read, _aread),
    Ending("tiny writes", {"write_size": 3, "crlf": True}, True, _read, _aread),
    Ending("break", PARKED, False, _break, _abreak),
    Ending("close", PARKED, False, _close, _aclose),
    Ending("with", PARKED, False, _with, _awith),
    Ending("never read", PARKED, False, _unread, _aunread),
    Ending("raise", PARKED, False, _raise, _araise),
    Ending("cancel", PARKED, False, None, _acancel),
    Ending("error event", {**PIECES, "error_after": 9}, False, _read, _aread),
    Ending("dropped", {**PIECES, "drop_after": 9}, False, _read, _aread),
)
"""Of a stream."""

CALLS = (
    Ending("read"),
    Ending("gzip", {"gzip": True}),
    Ending("cancel", {"hang": True}, False),
    Ending("dropped", {"drop": True}, False),
)
"""Of an answer in one piece."""

BOTH = (
    Ending("status", {"status": 400}, True, _read, _aread),
    Ending("poor", {"output_tokens": 100_000, "pieces": 5}, True, _read, _aread, {"max_budget": "0.01", "wait": 0}),
    Ending("no money", AS_USUAL, True, _read, _aread, {"max_budget": "0.000000001", "wait": 0}),
)
"""Of either: refused by the provider, granted less than the model would write, refused by the budget."""

ALL = tuple(dict.fromkeys(ending.name for ending in (*STREAMS, *CALLS, *BOTH)))
"""The columns."""
