"""The ways to call an SDK and to leave its streams, as functions that a test runs one by one, each under its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping


def bare_name(function: Callable[..., Any]) -> str:
    """What a function is called in the name of a test."""
    return function.__name__.strip("_")


def each_way(names: Mapping[str, Any], *, prefix: str = "_", suffix: str = "") -> pytest.MarkDecorator:
    """Run a test once for each function of its module that stands above it and is so called: its ``way``."""
    ways = [
        value
        for name, value in sorted(names.items())
        if name.startswith(prefix) and name.endswith(suffix) and name[:2] != "__" and callable(value)
    ]
    return pytest.mark.parametrize("way", ways, ids=bare_name)


def broken_off(stream: Any) -> None:
    for _ in stream:
        break


def closed(stream: Any) -> None:
    next(stream)
    stream.close()


def left_in_a_block(stream: Any) -> None:
    with stream:
        next(stream)


def consumer_raises(stream: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        for _ in stream:
            raise ZeroDivisionError


async def break_or_close(stream: Any, how: str, close: Callable[[], Awaitable[None]]) -> None:
    """Leave a stream after its first piece by "break" or "close", or read on until the task is cancelled."""
    async for _ in stream:
        if how == "close":
            await close()
        if how != "cancel":
            break
