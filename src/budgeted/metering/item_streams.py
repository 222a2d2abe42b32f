"""A stream of items: any object that is iterated, settled when it has been.

A decorated function returned it, or an SDK that shows nobody the HTTP response below it. The caller gets the object
behind a transparent proxy, which passes for it in ``isinstance`` and has all its attributes.
"""

from __future__ import annotations

import contextlib
import functools
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import ClassVar, Protocol

from budgeted.metering import runner
from budgeted.metering.after_disconnect import STOPS, most_output
from budgeted.metering.call import Call
from budgeted.metering.http_streams import LEFT_EARLY, NO_USAGE
from budgeted.metering.owner import end_anywhere
from budgeted.payers.scope import Scope, enter, leave
from budgeted.pricing.usage import Usage
from budgeted.wire import response_usage
from budgeted.wire.sdk_object_fields import text_bytes
from budgeted.wire.stream_usage import estimated


class Watched(Protocol):
    """What is told of a stream's items and of its end.

    Attributes:
        inside: the scope in which items are taken, where the stream sends its request no sooner than it is read.
    """

    inside: Scope | None

    def add(self, item: object) -> bool:
        """An item came; returns whether the caller is to see it."""

    def end(self, error: BaseException | None) -> None:
        """The stream has ended, was left (``GeneratorExit``), or failed."""

    async def end_async(self) -> None:
        """The stream has ended, for a coroutine."""


class _Watching(Protocol):
    """A proxy of a stream, with who is told of it."""

    _self_watched: Watched


class Items:
    """A call whose answer comes item by item: what came so far, and how the call ends with it.

    Attributes:
        text_bytes, pieces, items: how much text came, in how many items, of how many.
        ends_when_cut: whether the stream ends as if nothing were missing when its connection is lost.
    """

    inside: Scope | None = None
    ends_when_cut: ClassVar[bool] = False

    def __init__(self, call: Call) -> None:
        self.call = call
        self.answer = response_usage.NOTHING
        self.text_bytes = 0
        self.pieces = 0
        self.items = 0
        self.begun = time.monotonic()

    def add(self, item: object) -> bool:
        """Note a chunk: its usage report, or its text."""
        self.count(item)
        if not isinstance(item, str):
            answer = response_usage.read(item)
            if answer.usage is not None:
                self.answer = answer
        return True

    def count(self, item: object) -> None:
        """Count an item and its text: one without text, such as the last, is no token."""
        size = text_bytes(item)
        self.items += 1
        self.text_bytes += size
        self.pieces += size > 0

    def end(self, error: BaseException | None) -> None:
        """The stream has ended, been left, or failed."""
        end = self.ending(error)
        if end is None:
            return
        if error is None:
            end(None)
        else:
            end_anywhere(self.call, end)

    async def end_async(self) -> None:
        """The stream has ended, for a coroutine."""
        end = self.ending(None)
        if end is not None:
            await runner.settled(self.call, end)

    def ending(self, error: BaseException | None) -> Callable[[float | None], None] | None:
        """How the call ends; None if that is not for this stream to say."""
        call, answer = self.call, self.answer
        if answer.usage is not None:
            return functools.partial(call.settle, answer)
        if error is None or self.items or isinstance(error, GeneratorExit):
            received = Usage(0, estimated(self.text_bytes, self.pieces))
            if error is not None:
                return functools.partial(call.estimate, LEFT_EARLY, received, None)
            most = None
            if call.after_disconnect(ended=not self.ends_when_cut) == STOPS:
                most = most_output(call.request, received.output_tokens, 0, time.monotonic() - self.begun)
            return functools.partial(call.estimate, NO_USAGE, received, None, most_output=most)
        return functools.partial(call.fail, error)


def metered(watched: Watched, stream: object) -> object:
    """The stream, whose items and end are told to ``watched``, also if it is forgotten."""
    proxy = _proxy()(stream)
    proxy._self_watched = watched  # noqa: SLF001 - wrapt keeps such names on the proxy
    weakref.finalize(proxy, watched.end, GeneratorExit())
    return proxy


@functools.cache
def _proxy() -> Callable[[object], _Watching]:
    import wrapt  # as late as for the hooks: importing the package is to be quick

    class Stream(wrapt.ObjectProxy):  # type: ignore[type-arg]
        _self_watched: Watched

        def __iter__(self) -> Iterator[object]:
            items = iter(self.__wrapped__)
            return self if items is self.__wrapped__ else _items(items, self)

        def __next__(self) -> object:
            return _next(self.__wrapped__, self._self_watched)

        def __aiter__(self) -> AsyncIterator[object]:
            items = self.__wrapped__.__aiter__()
            return self if items is self.__wrapped__ else _items_async(items, self)

        async def __anext__(self) -> object:
            return await _next_async(self.__wrapped__, self._self_watched)

        def __enter__(self) -> object:
            with _inside(self._self_watched):
                entered = self.__wrapped__.__enter__()
            return self if entered is self.__wrapped__ else entered

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
        ) -> bool | None:
            try:
                return self.__wrapped__.__exit__(kind, error, trace)  # type: ignore[no-any-return]  # a stranger's
            finally:
                self._self_watched.end(GeneratorExit())

        async def __aenter__(self) -> object:
            with _inside(self._self_watched):
                entered = await self.__wrapped__.__aenter__()
            return self if entered is self.__wrapped__ else entered

        async def __aexit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> bool | None:
            try:
                return await self.__wrapped__.__aexit__(kind, error, trace)  # type: ignore[no-any-return]
            finally:
                self._self_watched.end(GeneratorExit())

        def close(self) -> object:
            try:
                return self.__wrapped__.close()
            finally:
                self._self_watched.end(GeneratorExit())

        async def aclose(self) -> object:
            try:
                return await self.__wrapped__.aclose()
            finally:
                self._self_watched.end(GeneratorExit())

    return Stream


@contextlib.contextmanager
def _inside(watched: Watched) -> Iterator[None]:
    """Send inside the watched scope what is sent on entering; what fails then is the stream's end."""
    try:
        if watched.inside is not None:
            enter(watched.inside)
        yield
    except BaseException as error:
        watched.end(error)
        raise
    finally:
        if watched.inside is not None:
            leave(watched.inside)


def _next(items: Iterator[object], watched: Watched) -> object:
    inside = watched.inside
    try:
        try:
            while True:
                if inside is not None:
                    enter(inside)
                item = next(items)
                if inside is not None:
                    leave(inside)
                if watched.add(item):
                    return item
        except StopIteration:
            if inside is not None:
                leave(inside)
            watched.end(None)
            raise
        except BaseException as error:
            if inside is not None:
                leave(inside)
            watched.end(error)
            raise
    except StopIteration:
        raise
    except BaseException as error:  # a signal's handler has raised, perhaps just there
        watched.end(error)
        raise


async def _next_async(items: AsyncIterator[object], watched: Watched) -> object:
    inside = watched.inside
    try:
        try:
            while True:
                if inside is not None:
                    enter(inside)
                item = await items.__anext__()
                if inside is not None:
                    leave(inside)
                if watched.add(item):
                    return item
        except StopAsyncIteration:
            if inside is not None:
                leave(inside)
            await watched.end_async()
            raise
        except BaseException as error:
            if inside is not None:
                leave(inside)
            watched.end(error)
            raise
    except StopAsyncIteration:
        raise
    except BaseException as error:
        watched.end(error)
        raise


def _items(items: Iterator[object], proxy: _Watching) -> Iterator[object]:
    # The proxy is kept alive meanwhile: collected, it would take its stream for left.
    try:
        while True:
            try:
                item = _next(items, proxy._self_watched)  # noqa: SLF001
            except StopIteration:
                return
            yield item
    except GeneratorExit as error:
        proxy._self_watched.end(error)  # noqa: SLF001
        raise


async def _items_async(items: AsyncIterator[object], proxy: _Watching) -> AsyncIterator[object]:
    try:
        while True:
            try:
                item = await _next_async(items, proxy._self_watched)  # noqa: SLF001
            except StopAsyncIteration:
                return
            yield item
    except GeneratorExit as error:
        proxy._self_watched.end(error)  # noqa: SLF001
        raise
