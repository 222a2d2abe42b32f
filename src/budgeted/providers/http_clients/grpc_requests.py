"""A request that grpc is about to send, whichever way: read off its message, and written into a copy of it."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from budgeted.metering.call import Call
from budgeted.metering.http_streams import Watch
from budgeted.providers.http_clients.recognition import Posted, refuse_unread
from budgeted.providers.metered_method import End
from budgeted.wire import response_usage
from budgeted.wire.exception_classification import UNSENT, classify, reason_of
from budgeted.wire.grpc_methods import Method, method
from budgeted.wire.request_formats.http_request import Body, HTTPRequest
from budgeted.wire.sdk_object_fields import EMPTY
from budgeted.wire.stream_usage import ItemMeter

_SCHEME: Final = re.compile(r"(?:dns|ipv4|ipv6|unix|passthrough|xds):(?://[^/]*/)?")

_READY: Final = 2
"""What grpc's channels call the state of being connected: `grpc.ChannelConnectivity.READY`."""

Kind = TypeVar("Kind", bound="Asked")


class Asked(Posted):
    """One request, as grpc was asked for it, whose message is the first of its arguments.

    Attributes:
        asked_by: the method.
        metered: the call that it has become; None before it is sent, and where nobody pays.
        connected: whether its channel was connected when it was asked for.
    """

    asked_by: Method
    metered: Call | None = None
    connected = False
    by_address = False

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, with a copy of the message that has what was granted."""
        self.metered = call
        http = self.rewritten(call)
        if http is None:
            return self.args, self.kwargs
        return (self._written(http), *self.args[1:]), self.kwargs

    def finish(self, call: Call, response: Any) -> End | None:
        """How the call ends with this message, or with a message and what it came by."""
        message = response[0] if isinstance(response, tuple) else response
        return functools.partial(call.settle, response_usage.read(self.told(message)))

    def outcome(self, call: Call, error: BaseException) -> End:
        """How the call ends that raised."""
        # A channel may send again by itself what was lost on its way, and tells only why the last attempt has failed.
        if self.connected and classify(error, call.handled) == UNSENT:
            return functools.partial(call.estimate, reason_of(error))
        return super().outcome(call, error)

    def told(self, message: Any) -> Mapping[str, object]:
        """What a message of the answer says, by the names that its readers know.

        Args:
            message: protobuf's own, or one that Google's libraries have around it.
        """
        try:
            raw = _raw(message)
            found = _fields(raw, rest_names=self.asked_by.rest_names)
            if not self.asked_by.rest_names and "usage" in found:
                found["usage"] = _every_field(raw.usage)
        except Exception:  # noqa: BLE001 - a stranger's message may be anything, and what was paid for is returned
            return EMPTY
        return found

    def _written(self, http: HTTPRequest) -> Any:
        from google.protobuf import json_format  # type: ignore[import-untyped]  # by which the message was read

        changes = {name: value for name, value in http.body.items() if value is not self.http.body.get(name)}
        if http.path != self.http.path:
            changes |= self.asked_by.model(http.path)
        message = self.args[0]
        raw = _raw(message)
        copy = type(raw)()
        copy.CopyFrom(raw)
        json_format.ParseDict(changes, copy)
        return copy if raw is message else type(message).wrap(copy)


class Messages(Watch):
    """A stream of messages being read: what came so far, and the call to settle when it ends.

    Args:
        sent: what was asked.
        call: which it has become.
    """

    def __init__(self, sent: Asked, call: Call) -> None:
        self._items = ItemMeter(sent.told)
        self._sent = sent
        super().__init__(call, self._items)

    def note(self, message: object) -> None:
        """Read a message as it passes."""
        self.last = time.monotonic()
        self._items.feed(message)

    def outcome(self, error: BaseException | None, *, at_end: bool) -> End:
        """How the call ends."""
        if error is None or self._items.begun or isinstance(error, GeneratorExit):
            return super().outcome(error, at_end=at_end)
        return self._sent.outcome(self.call, error)


def asked(
    kind: type[Kind], name: bytes | str, channel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Kind | None:
    """A request as a call to meter; None if it is not paid for, or is sent without being metered.

    Args:
        kind: what ends the call with its answer.
        name: of its method, in full.
        channel: grpc's own, below the one that its users have.
        args: the message, and what else grpc was called with.
        kwargs: and by name.

    Raises:
        UnpricedModelError: it is paid for and cannot be read, inside a block that does not let that pass.
    """
    name = name.decode() if isinstance(name, bytes) else name
    asked_by = method(name)
    if asked_by is None:
        return None
    host = _host(channel)
    body = _body(args[0], asked_by) if asked_by.read_by is not None else None
    if asked_by.read_by is None or body is None:
        refuse_unread(host, f"what is asked by the gRPC method {name}")
        return None
    http = HTTPRequest(asked_by.path(name, body), body, asked_by.provider, f"https://{host}{name}")
    request = asked_by.read_by.read(http)
    if request is None or not (request.unseen or request.model):
        refuse_unread(host, f"what is asked by the gRPC method {name}")
        return None
    sent = kind(request, args, kwargs)
    sent.http, sent.read_by, sent.asked_by, sent.signed = http, asked_by.read_by, asked_by, False
    sent.connected = channel.check_connectivity_state(False) == _READY
    return sent


def refuse_bidirectional(name: bytes | str, channel: Any) -> None:
    """Refuse what is asked message by message, if it is paid for.

    Args:
        name: of its method, in full.
        channel: grpc's own, below the one that its users have.

    Raises:
        UnpricedModelError: it is paid for, inside a block that does not let that pass.
    """
    name = name.decode() if isinstance(name, bytes) else name
    if method(name) is not None:
        refuse_unread(_host(channel), f"what is asked by the gRPC method {name}")


def _host(channel: Any) -> str:
    """Where a channel leads, without what says how that is looked up."""
    target: Any = channel.target
    found: bytes = target() if callable(target) else target  # grpc.aio's has it as it is
    return _SCHEME.sub("", found.decode(), count=1)


def _raw(message: Any) -> Any:
    """The message of protobuf's own in one of Google's libraries'."""
    unwrap = getattr(type(message), "pb", None)
    return message if unwrap is None else unwrap(message)


def _body(message: Any, asked_by: Method) -> Body | None:
    try:
        return _fields(_raw(message), rest_names=asked_by.rest_names)
    except Exception:  # noqa: BLE001 - as of an answer: then it is refused
        return None


def _fields(raw: Any, *, rest_names: bool) -> dict[str, Any]:
    from google.protobuf import json_format  # not before a message has come: importing the package is to be quick

    found: dict[str, Any] = json_format.MessageToDict(raw, preserving_proto_field_name=not rest_names)
    return found


def _every_field(report: Any) -> dict[str, object]:
    """A usage report with its zeros, and with large numbers as such: JSON has them as text."""
    found: dict[str, object] = {}
    for field in report.DESCRIPTOR.fields:
        value = getattr(report, field.name)
        if field.enum_type is not None:
            value = [field.enum_type.values_by_number[number].name for number in value]
        found[field.name] = value
    if not found.get("cost_in_usd_ticks"):
        found.pop("cost_in_usd_ticks", None)  # a zero is what stands for nothing said
    return found
