"""grpc.aio, where a call sends its request in a task of its own: below every interceptor."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from budgeted.errors import BudgetError
from budgeted.metering import runner
from budgeted.metering.call import Call
from budgeted.providers.http_clients.grpc_requests import Asked, Messages, asked, refuse_bidirectional
from budgeted.providers.http_clients.recognition import watching
from budgeted.providers.metered_method import End, run_async
from budgeted.providers.monkeypatching import Hook

_CHANNEL, _METHOD = 4, 5
"""Where the arguments behind the request have them."""

_SENT, _WATCH = "_budgeted_sent", "_budgeted_watch"
"""What grpc's objects keep of ours: a request that is to be metered, and a stream that is."""


class _Asked(Asked):
    lost: BaseException | None = None

    def finish(self, call: Call, response: Any) -> End | None:
        """How the call ends with this message; or without any, which its caller is told by an exception later."""
        return super().finish(call, response) if self.lost is None else self.outcome(call, self.lost)


class _Streamed(Asked):
    answer: Any

    def finish(self, call: Call, response: Any) -> End | None:  # noqa: ARG002 - there is none
        """Not yet: the messages end it."""
        watch = Messages(self, call)
        vars(self.answer)[_WATCH] = watch
        weakref.finalize(self.answer, watch.end_early, GeneratorExit())
        # A channel may be closed, or the server may refuse, where nobody reads on.
        done = functools.partial(_done, weakref.ref(self.answer), watch)
        self.answer._cython_call.add_done_callback(done)  # noqa: SLF001 - grpc's own would keep the answer alive
        return None


def _init(kind: type[Asked], original: Callable[..., None]) -> Callable[..., None]:
    def __init__(self: Any, request: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - it is one
        if watching():
            channel = kwargs.get("channel", args[_CHANNEL] if len(args) > _CHANNEL else None)
            name = kwargs.get("method", args[_METHOD] if len(args) > _METHOD else b"")
            sent = asked(kind, name, channel, (request,), {})
            if sent is not None:
                vars(self)[_SENT] = sent  # before there is a task that looks for it
        original(self, request, *args, **kwargs)

    return __init__


def _invoke(original: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    async def _invoke(self: Any) -> Any:
        sent: _Asked | None = vars(self).pop(_SENT, None)
        if sent is None:
            return await original(self)

        async def send(request: Any) -> Any:
            self._request = request
            message = await original(self)
            if _is_end(message):
                sent.lost = _error(self) or EOFError()
            return message

        return await _run(sent, send, self)

    return _invoke


def _send(original: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    async def _send_unary_request(self: Any) -> None:
        sent: _Streamed | None = vars(self).pop(_SENT, None)
        if sent is None:
            return await original(self)

        async def send(request: Any) -> None:
            self._request = request
            await original(self)
            sent.answer = self if sent.metered is not None else None

        await _run(sent, send, self)
        sent.answer = None
        return None

    return _send_unary_request


async def _run(sent: Asked, send: Callable[[Any], Awaitable[Any]], answer: Any) -> Any:
    try:
        return await run_async(lambda *_: sent, send, answer, sent.args, {})
    except BudgetError as error:
        if not answer.done():  # who asks for its status is not to wait for ever
            answer._cython_call.set_internal_error(str(error))  # noqa: SLF001 - no other place
        raise


def _next(original: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    async def _read(self: Any) -> Any:
        try:
            message = await original(self)
        except BaseException as error:
            if _WATCH in vars(self):
                vars(self)[_WATCH].end_early(error)
            raise
        watch: Messages | None = vars(self).get(_WATCH)
        if watch is not None:
            await _note(self, watch, message)
        return message

    return _read


async def _note(answer: Any, watch: Messages, message: Any) -> None:
    try:
        if not _is_end(message):
            watch.note(message)
            return
        await answer.code()
        error = _error(answer)
        if error is not None:
            watch.end_early(error)
        elif not watch.call.ended:
            await runner.settled(watch.call, watch.outcome(None, at_end=True))
    except BaseException as error:  # cancelled, or a signal's handler has raised
        watch.end_early(error)
        raise


def _bidirectional(original: Callable[..., Any]) -> Callable[..., Any]:
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807 - as above
        if watching():
            refuse_bidirectional(self._method, self._channel)
        return original(self, *args, **kwargs)

    return __call__


def _done(itself: weakref.ref[Any], watch: Messages) -> None:
    """The status of a stream has come: where it is none of success, there is nothing to be read any more."""
    answer = itself()
    error = None if answer is None else _error(answer)
    if error is not None:
        watch.end_early(error)


def _is_end(message: Any) -> bool:
    """Whether this is what grpc has in the place of a message where none comes any more."""
    from grpc import aio  # type: ignore[import-untyped]  # which has called this

    return message is aio.EOF


def _error(answer: Any) -> BaseException | None:
    """What a call whose status has come has failed with; None if it has not."""
    asking = answer._raise_for_status()  # noqa: SLF001 - as grpc itself asks
    try:
        asking.send(None)  # which waits for nothing, then
    except StopIteration:
        return None
    except BaseException as error:  # noqa: BLE001 - a cancelled one says so by being raised
        return error
    asking.close()
    return None


HOOKS = (
    Hook("grpc.aio._call", "UnaryUnaryCall.__init__", functools.partial(_init, _Asked), plain=True),
    Hook("grpc.aio._call", "UnaryUnaryCall._invoke", _invoke, plain=True),
    Hook("grpc.aio._call", "UnaryStreamCall.__init__", functools.partial(_init, _Streamed), plain=True),
    Hook("grpc.aio._call", "UnaryStreamCall._send_unary_request", _send, plain=True),
    Hook("grpc.aio._call", "_StreamResponseMixin._read", _next, plain=True),
    Hook("grpc.aio._channel", "StreamStreamMultiCallable.__call__", _bidirectional, plain=True),
)
