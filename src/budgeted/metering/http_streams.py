"""Settling a stream, whatever happens to it.

The HTTP response below an SDK's stream is watched, not the stream: its ``iter_bytes`` and ``close`` are overridden on
the instance, so that the caller's object keeps its type, its methods and its ``with``. A stream that is read to its
end settles exactly; one that is left, broken, collected or never read settles as an estimate, never at zero.
"""

from __future__ import annotations

import contextlib
import functools
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Protocol

import msgspec

from budgeted.ledger import background_worker
from budgeted.metering import drain, runner
from budgeted.metering.after_disconnect import STOPS, most_output
from budgeted.metering.call import Call
from budgeted.metering.owner import end_anywhere
from budgeted.pricing.usage import Counts
from budgeted.wire.content_type_and_encoding import Meter, PackedMeter, meter_of
from budgeted.wire.exception_classification import reason_of
from budgeted.wire.server_sent_events import EventMeter
from budgeted.wire.stream_usage import BodyMeter, ItemMeter

LEFT_EARLY = "the stream was left before it said what it used"
NO_USAGE = "the stream ended without saying what it used"


class HTTPResponse(Protocol):
    """A response whose body is still to come: httpx's, httpx2's or urllib3's, each with the methods that it has."""

    headers: Mapping[str, str]
    length_remaining: int | None

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]: ...  # noqa: D102 - as theirs

    def iter_raw(self, chunk_size: int | None = None) -> Iterator[bytes]: ...  # noqa: D102

    def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]: ...  # noqa: D102

    def aiter_raw(self, chunk_size: int | None = None) -> AsyncIterator[bytes]: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102

    async def aclose(self) -> None: ...  # noqa: D102

    def stream(self, *args: object, **kwargs: object) -> Iterator[bytes]: ...  # noqa: D102

    def read(self, amt: int | None = None, *args: object, **kwargs: object) -> bytes: ...  # noqa: D102

    def read1(self, amt: int | None = None, *args: object, **kwargs: object) -> bytes: ...  # noqa: D102

    def read_chunked(self, *args: object, **kwargs: object) -> Iterator[bytes]: ...  # noqa: D102

    def drain_conn(self) -> None: ...  # noqa: D102


class Watch:
    """One stream being read: what passed so far, and the call to settle when it ends."""

    def __init__(self, call: Call, meter: EventMeter | ItemMeter | BodyMeter) -> None:
        self.call = call
        self.meter = meter
        self.reading = False
        self.decoding = False
        self.begun = self.last = time.monotonic()
        self.source: Iterator[object] | AsyncIterator[object] | None = None
        self.feed: Callable[[Any], object] = meter.feed
        self.close: Callable[[], object] | None = None
        self.aclose: Callable[[], Awaitable[object]] | None = None
        self.draining = False
        self.packed: Meter | None = None

    def raw_meter(self, response: HTTPResponse) -> Meter:
        """For a body that is read without being decoded."""
        if self.packed is None:
            encoding = response.headers.get("content-encoding", "identity")
            self.packed = self.meter if encoding == "identity" else PackedMeter(self.meter, encoding)
        return self.packed

    def outcome(self, error: BaseException | None, *, at_end: bool) -> Callable[[float | None], None]:
        """How the call ends, as a step that takes a ledger timeout."""
        answer = self.meter.answer()
        if answer.usage is not None and _is_empty(answer.usage) and self.meter.has_text():
            answer = msgspec.structs.replace(answer, usage=None)  # some servers report zeros where they do not count
        if answer.usage is not None and (self.meter.told or (at_end and error is None and self.meter.whole)):
            return functools.partial(self.call.settle, answer)
        if error is None and at_end and self.call.request.known is not None:
            return functools.partial(self.call.settle, answer)
        if (
            isinstance(self.meter, ItemMeter)
            and not self.meter.begun
            and not isinstance(error, (GeneratorExit, type(None)))
        ):
            return functools.partial(self.call.fail, error)
        if error is None:
            reason = NO_USAGE if at_end else LEFT_EARLY
        else:
            reason = LEFT_EARLY if isinstance(error, GeneratorExit) else reason_of(error)
        received = self.call.request.likely or self.meter.received()
        # Some end as if nothing were missing when their connection is lost: all has come where the end was told.
        ended = at_end and error is None and (self.meter.final or isinstance(self.meter, BodyMeter))
        most = self._most_output(received, ended=ended)
        return functools.partial(self.call.estimate, reason, received, answer, most_output=most)

    def _most_output(self, received: Counts, *, ended: bool) -> int | None:
        """The most output that can have been billed, where all came or the provider stops with its reader."""
        if self.call.after_disconnect(ended=ended) != STOPS:
            return None
        if isinstance(self.packed, PackedMeter) and not self.packed.readable:  # how much came, nobody knows
            return None
        if isinstance(self.meter, BodyMeter) and self.meter.cut:
            return None
        now = self.last if ended else time.monotonic()
        return most_output(self.call.request, received.output_tokens, now - self.last, now - self.begun + SETUP_SECONDS)

    def end_early(self, error: BaseException | None = None) -> None:
        """The stream is left. May run in a finaliser: in the midst of whatever this thread was doing."""
        try:
            if self.call.ended or self.draining:
                return
            self.meter.flush()  # some SDKs take an event before its last byte has come
            if isinstance(error, (GeneratorExit, type(None))) and drain.begin(self):
                return
            end_anywhere(self.call, self.outcome(error, at_end=False))
        finally:
            if not self.draining:
                self.let_go()

    def let_go(self) -> None:
        """Forget the response, which nobody reads any more: its finaliser has this object, and would keep it alive."""
        self.source = self.close = self.aclose = None


def _is_empty(usage: Counts) -> bool:
    """Whether a report says that nothing at all is billed."""
    return not (usage.total_tokens or usage.web_searches or usage.audio_ms or usage.fees or usage.unread)


SETUP_SECONDS = 1.0
"""How long before its first byte a request may have been under way, beside what is measured: clocks tell seconds."""


def watch(response: HTTPResponse, call: Call, *, drop_usage: bool = False) -> None:
    """Settle a call when its HTTP response has been read, closed, left or forgotten.

    Args:
        response: an unread ``httpx.Response`` or ``httpx2.Response``, sync or async, or urllib3's.
        call: the open call.
        drop_usage: hide the chunk that only carries the usage.
    """
    state = Watch(call, meter_of(response.headers.get("content-type", ""), drop_usage=drop_usage))
    kind = type(response)
    for name, method in _METHODS if hasattr(kind, "iter_bytes") else _URLLIB3_METHODS:
        setattr(response, name, functools.partial(method, response, kind, state))
    weakref.finalize(response, state.end_early)


def _iter_bytes(
    response: HTTPResponse, kind: type[HTTPResponse], state: Watch, chunk_size: int | None = None
) -> Iterator[bytes]:
    state.decoding = True
    return _metered(kind.iter_bytes(response, chunk_size), state, state.meter)


def _iter_raw(
    response: HTTPResponse, kind: type[HTTPResponse], state: Watch, chunk_size: int | None = None
) -> Iterator[bytes]:
    source = kind.iter_raw(response, chunk_size)
    return source if state.decoding else _metered(source, state, state.raw_meter(response))


def _aiter_bytes(
    response: HTTPResponse, kind: type[HTTPResponse], state: Watch, chunk_size: int | None = None
) -> AsyncIterator[bytes]:
    state.decoding = True
    return _ametered(kind.aiter_bytes(response, chunk_size), state, state.meter)


def _aiter_raw(
    response: HTTPResponse, kind: type[HTTPResponse], state: Watch, chunk_size: int | None = None
) -> AsyncIterator[bytes]:
    source = kind.aiter_raw(response, chunk_size)
    return source if state.decoding else _ametered(source, state, state.raw_meter(response))


def items(source: Iterator[Any], state: Watch) -> Iterator[Any]:
    """A stream's items, which end its call when they end. Whoever makes it says when it is forgotten."""
    return _metered(source, state, state.meter)


def items_async(source: AsyncIterator[Any], state: Watch) -> AsyncGenerator[Any, None]:
    """The same for a coroutine."""
    return _ametered(source, state, state.meter)


def pieces_async(source: AsyncIterator[bytes], state: Watch, meter: Meter) -> AsyncGenerator[bytes, None]:
    """The bytes of a body that is read by hand, and ends its call when it ends.

    Args:
        source: where they come from.
        state: who watches them.
        meter: what reads them: one that unpacks, for a body that is passed on packed.
    """
    return _ametered(source, state, meter)


def _metered(source: Iterator[Any], state: Watch, meter: Meter) -> Iterator[Any]:
    state.source, state.feed = source, meter.feed
    try:
        try:
            while True:
                state.reading = True
                data = next(source, None)
                state.reading = False
                if data is None:
                    break
                state.last = time.monotonic()
                data = meter.feed(data)
                if state.meter.final and not state.call.ended:
                    state.outcome(None, at_end=True)(None)
                if data:
                    yield data
            rest = meter.flush()
            if rest:
                yield rest
            if not state.call.ended:
                state.outcome(None, at_end=True)(None)
            state.let_go()
        except BaseException as error:
            state.reading = False
            state.end_early(error)
            raise
    except BaseException as error:  # a signal's handler has raised, perhaps just there
        state.end_early(error)
        raise


async def _ametered(source: AsyncIterator[Any], state: Watch, meter: Meter) -> AsyncGenerator[Any, None]:
    state.source, state.feed = source, meter.feed
    try:
        try:
            while True:
                state.reading = True
                try:
                    data = await source.__anext__()
                except StopAsyncIteration:
                    break
                finally:
                    state.reading = False
                state.last = time.monotonic()
                data = meter.feed(data)
                if state.meter.final and not state.call.ended:
                    await runner.settled(state.call, state.outcome(None, at_end=True))
                if data:
                    yield data
            rest = meter.flush()
            if rest:
                yield rest
            if not state.call.ended:
                await runner.settled(state.call, state.outcome(None, at_end=True))
            state.let_go()
        except BaseException as error:
            state.reading = False
            state.end_early(error)
            raise
    except BaseException as error:
        state.end_early(error)
        raise


def _close(response: HTTPResponse, kind: type[HTTPResponse], state: Watch) -> None:
    state.close = functools.partial(kind.close, response)
    try:
        # The response closes itself when its last byte has come, while more may be left to decode.
        if not state.reading:
            state.end_early()
    except BaseException:  # a signal's handler has raised
        background_worker.enqueue(state.end_early)
        raise
    finally:
        if not state.draining:  # else it is closed when the rest has been read
            kind.close(response)


async def _aclose(response: HTTPResponse, kind: type[HTTPResponse], state: Watch) -> None:
    state.aclose = functools.partial(kind.aclose, response)
    try:
        if not state.reading:
            state.end_early()
    except BaseException:
        background_worker.enqueue(state.end_early)
        raise
    finally:
        if not state.draining:
            await kind.aclose(response)


def _stream(
    response: HTTPResponse, kind: type[HTTPResponse], state: Watch, *args: object, **kwargs: object
) -> Iterator[bytes]:
    state.decoding = True
    meter = state.meter if _decodes(response, args, kwargs) else state.raw_meter(response)
    return _metered(kind.stream(response, *args, **kwargs), state, meter)


def _decodes(response: HTTPResponse, args: tuple[object, ...], kwargs: Mapping[str, object]) -> bool:
    """Whether urllib3 unpacks what is read of a response: the argument behind the number of bytes."""
    wanted = args[1] if len(args) > 1 else kwargs.get("decode_content")
    return bool(getattr(response, "decode_content", True) if wanted is None else wanted)


def _read_chunked(
    response: HTTPResponse, kind: type[HTTPResponse], state: Watch, *args: object, **kwargs: object
) -> Iterator[bytes]:
    source = kind.read_chunked(response, *args, **kwargs)
    if state.decoding:
        return source
    state.decoding = True
    # Unlike its other methods, this one unpacks only if it is told to.
    unpacks = args[1] if len(args) > 1 else kwargs.get("decode_content")
    return _metered(source, state, state.meter if unpacks else state.raw_meter(response))


def _read(
    response: HTTPResponse,
    kind: type[HTTPResponse],
    state: Watch,
    amt: int | None = None,
    *args: object,
    **kwargs: object,
) -> bytes:
    whole = amt is None or amt < 0
    return _taken(response, state, kind.read, amt, args, kwargs, whole=whole)


def _read1(
    response: HTTPResponse,
    kind: type[HTTPResponse],
    state: Watch,
    amt: int | None = None,
    *args: object,
    **kwargs: object,
) -> bytes:
    return _taken(response, state, kind.read1, amt, args, kwargs, whole=False)


def _drain_conn(response: HTTPResponse, kind: type[HTTPResponse], state: Watch) -> None:
    with contextlib.suppress(Exception):  # as urllib3, which drops what it reads here
        _read(response, kind, state)
    kind.drain_conn(response)


def _taken(
    response: HTTPResponse,
    state: Watch,
    method: Callable[..., bytes],
    amt: int | None,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    *,
    whole: bool,
) -> bytes:
    """What a method of urllib3's reads, metered unless it is another one that asks."""
    if state.decoding:
        return method(response, amt, *args, **kwargs)
    try:
        state.decoding = state.reading = True
        try:
            data = method(response, amt, *args, **kwargs)
        finally:
            state.decoding = state.reading = False
        meter = state.meter if _decodes(response, (amt, *args), kwargs) else state.raw_meter(response)
        shown = meter.feed(data)
        if whole or (not data and amt != 0) or _is_through(response):
            shown += meter.flush() or b""
            if not state.call.ended:
                state.outcome(None, at_end=True)(None)
        return shown if whole else data
    except BaseException as error:
        state.end_early(error)
        raise


def _is_through(response: HTTPResponse) -> bool:
    """Whether all has been read that was announced, and nothing of it waits to be unpacked."""
    return response.length_remaining == 0 and "content-encoding" not in response.headers


_URLLIB3_METHODS = (
    ("stream", _stream),
    ("read", _read),
    ("read1", _read1),
    ("read_chunked", _read_chunked),
    ("drain_conn", _drain_conn),
    ("close", _close),
)
_METHODS = (
    ("iter_bytes", _iter_bytes),
    ("iter_raw", _iter_raw),
    ("aiter_bytes", _aiter_bytes),
    ("aiter_raw", _aiter_raw),
    ("close", _close),
    ("aclose", _aclose),
)
