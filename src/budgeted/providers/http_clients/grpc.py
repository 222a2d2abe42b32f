"""grpc, where a channel's methods send: below every interceptor, which take a refusal for an answer like others."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from budgeted.metering.call import Call
from budgeted.metering.item_streams import Watched, metered
from budgeted.metering.owner import end_anywhere
from budgeted.providers.http_clients.grpc_requests import Asked, Kind, Messages, asked, refuse_bidirectional
from budgeted.providers.http_clients.recognition import watching
from budgeted.providers.metered_method import End, run
from budgeted.providers.monkeypatching import Hook


class _Later(Asked):
    """One whose answer comes later, and ends the call then."""

    def finish(self, call: Call, response: Any) -> End | None:  # noqa: ARG002 - the answer is still to come
        """Not yet."""
        return None

    def end(self, future: Any) -> None:
        """The answer has come, or will not: told by a thread of grpc's own, on which all other answers wait.

        Args:
            future: what was returned for it.
        """
        call = self.metered
        if call is None:
            return
        try:
            end = super().finish(call, future.result())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's to see, who has the future
            end = self.outcome(call, error)
        if end is not None:
            end_anywhere(call, end)


class _Watched(Watched):
    inside = None

    def __init__(self, messages: Messages, source: Any) -> None:
        self._messages = messages
        messages.source, messages.close = source, source.cancel

    def add(self, item: object) -> bool:
        """Note a message."""
        self._messages.note(item)
        return True

    def end(self, error: BaseException | None) -> None:
        """The stream has ended, was left, or failed."""
        if error is not None:
            self._messages.end_early(error)
            return
        if not self._messages.call.ended:
            self._messages.outcome(None, at_end=True)(None)
        self._messages.let_go()

    async def end_async(self) -> None:
        """As it is not awaited, it does not end so."""


def _whole(original: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        sent = _read(Asked, self, (request, *args), kwargs)
        if sent is None:
            return original(self, request, *args, **kwargs)
        return run(lambda *_: sent, functools.partial(original, self), self, (request, *args), kwargs)

    return method


def _future(original: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        sent = _read(_Later, self, (request, *args), kwargs)
        if sent is None:
            return original(self, request, *args, **kwargs)

        def send(*args: Any, **kwargs: Any) -> Any:
            future = original(self, *args, **kwargs)
            if sent.metered is not None:
                future.add_done_callback(sent.end)
            return future

        return run(lambda *_: sent, send, self, (request, *args), kwargs)

    return method


def _streamed(original: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        sent = _read(_Later, self, (request, *args), kwargs)
        if sent is None:
            return original(self, request, *args, **kwargs)

        def send(*args: Any, **kwargs: Any) -> Any:
            source = original(self, *args, **kwargs)
            return source if sent.metered is None else metered(_Watched(Messages(sent, sent.metered), source), source)

        return run(lambda *_: sent, send, self, (request, *args), kwargs)

    return method


def _bidirectional(original: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if watching():
            refuse_bidirectional(self._method, self._channel)
        return original(self, *args, **kwargs)

    return method


def _read(kind: type[Kind], asking: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Kind | None:
    return asked(kind, asking._method, asking._channel, args, kwargs) if watching() else None  # noqa: SLF001 - no other place


HOOKS = (
    Hook("grpc._channel", "_UnaryUnaryMultiCallable.__call__", _whole, plain=True),
    Hook("grpc._channel", "_UnaryUnaryMultiCallable.with_call", _whole, plain=True),
    Hook("grpc._channel", "_UnaryUnaryMultiCallable.future", _future, plain=True),
    Hook("grpc._channel", "_UnaryStreamMultiCallable.__call__", _streamed, plain=True),
    Hook("grpc._channel", "_SingleThreadedUnaryStreamMultiCallable.__call__", _streamed, optional=True, plain=True),
    Hook("grpc._channel", "_StreamStreamMultiCallable.__call__", _bidirectional, plain=True),
)
