"""A request that is paid for, on its way to an upstream: held, sent, passed back, settled."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import msgspec
from starlette.types import Receive

from budgeted.gateway.bodies import MOST_WHOLE, Departure, Gone, Pieces
from budgeted.gateway.callers import Caller
from budgeted.gateway.outgoing_request import Outgoing
from budgeted.gateway.upstream_requests import Connections
from budgeted.metering.call import Call
from budgeted.metering.http_streams import Watch, pieces_async
from budgeted.providers.http_clients.recognition import Posted
from budgeted.providers.metered_method import End, run_async
from budgeted.wire import aws_event_stream, response_usage, usage_report_formats
from budgeted.wire.content_type_and_encoding import meter_of
from budgeted.wire.request_formats.http_bodies import FORM, JSON, encoded, kind_of
from budgeted.wire.request_formats.openai import deployment
from budgeted.wire.usage_report_formats.amazon_bedrock import counts_in_headers

PATIENT_SECONDS: Final = 0.25
"""How long a request may take until somebody looks whether whoever asked still waits for it."""

_STREAMS: Final = ("text/event-stream", "application/stream+json", "application/x-ndjson", aws_event_stream.MEDIA_TYPE)

_OF_CONNECTION: Final = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-connection", b"te", b"trailer"),
        *(b"transfer-encoding", b"upgrade", b"alt-svc"),
    )
)
"""Headers of an answer that are about the upstream's connection."""


_IS_JSON: Final = re.compile(r'application/json(?:; *charset="?utf-?8"?)?', re.IGNORECASE)


class Incoming:
    """An upstream's answer.

    Args:
        response: aiohttp's, of which the head has come.
        body: all of its body, if that was read; None if it comes piece by piece.
        first: else what was read of it.

    Attributes:
        pieces: its body, as it comes.
        stream: the same, as it is passed on.
        watch: who reads what it says of its costs; None where nothing is charged for it.
        told: further headers, of the gateway's own.
    """

    def __init__(self, response: aiohttp.ClientResponse, body: bytes | None, first: bytes = b"") -> None:
        self.response, self.body = response, body
        self.watch: Watch | None = None
        self.pieces = Pieces(response.content, first)
        self.stream: AsyncIterator[bytes] = self.pieces
        self.told: list[tuple[bytes, bytes]] = []
        self._altered = False

    def metered(self, call: Call, *, hide_usage: bool) -> End | None:
        """How a call ends with this answer; None where its body is still to come, and ends it then.

        Args:
            call: which is open.
            hide_usage: whether the event that only carries usage is kept back, as whoever asked did not ask for it.
        """
        if self.response.status >= 300:
            return call.release
        headers = self.response.headers
        watch = self.watch = Watch(call, meter_of(headers.get("content-type", ""), drop_usage=hide_usage))
        watch.aclose = self._aclose
        counts = counts_in_headers(headers)  # of Bedrock, for models that say nothing in their answers
        meter = watch.raw_meter(self.response)  # type: ignore[arg-type] # which asks for its headers alone
        self._altered = hide_usage
        if self.body is None:
            self.stream = pieces_async(self.pieces, watch, meter)
            return None
        self.body = meter.feed(self.body) + (meter.flush() or b"")
        if counts and call.request.known is None and watch.meter.answer().usage is None:
            usage = usage_report_formats.read_usage(counts)
            return functools.partial(call.settle, response_usage.Answer(usage, report=counts))
        return watch.outcome(None, at_end=True)

    async def _aclose(self) -> None:
        self.response.close()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Those that are passed on."""
        found = [(name.lower(), value) for name, value in self.response.raw_headers]
        named = b",".join(value for name, value in found if name == b"connection").lower().split(b",")
        dropped = _OF_CONNECTION.union(one.strip() for one in named)
        found = [one for one in found if one[0] not in dropped and not (self._altered and one[0] == b"content-length")]
        if self._altered and self.body is not None:
            found.append((b"content-length", str(len(self.body)).encode()))
        return [*found, *self.told]


class Forwarded(Posted):
    """A paid request, read, and written again with what was granted.

    Attributes:
        content_type: of its body.
        caller: who asks for it.
        sending: whether it may have been sent.
    """

    args: tuple[Outgoing]
    content_type: str
    caller: Caller
    sending = False

    @property
    def deployments(self) -> tuple[str, ...]:
        """Azure's, of any name, that answers whatever model a body names."""
        found = deployment(self.http.path)
        return (found,) if found else ()

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The request with what was granted.

        Raises:
            CallerError: a fallback has taken the model's place for which whoever asks may not ask.
        """
        if call.request.model != self.request.model:
            self.caller.check_model(call.request.model)
        http = self.rewritten(call) or self.http
        out = self.args[0]
        kind = kind_of(out.body, self.content_type) if isinstance(out.body, bytes) else ""
        if not out.body or not isinstance(out.body, bytes) or (kind == FORM and http is self.http):
            return self.args, self.kwargs
        target = http.path if http.path != self.http.path else out.target
        # Always written anew: of what is there twice, others may take the one that was not read here.
        body = encoded(out.body, self.content_type, http.body)
        headers = out.headers
        if kind == JSON and not _IS_JSON.fullmatch(self.content_type):
            headers = [one for one in headers if one[0] != "content-type"]
            headers.append(("content-type", JSON))
        return (msgspec.structs.replace(out, target=target, body=body, headers=headers),), self.kwargs

    def finish(self, call: Call, response: Incoming) -> End | None:
        """How the call ends with this answer; None if its body is still to come."""
        return response.metered(call, hide_usage=self.hide_usage)


async def metered(connections: Connections, sent: Forwarded, receive: Receive, *, read: bool) -> Incoming:
    """The answer to a paid request, which is settled by the time it is here, or else when it has been passed on.

    Args:
        connections: by which it is sent.
        sent: the request.
        receive: tells whether whoever asked has gone.
        read: whether its answer is wanted as a whole.

    Raises:
        Gone: whoever asked has left while the request waited for its turn: it was not sent.
        BudgetError: it does not fit, or must not be sent.
        aiohttp.ClientError, OSError, TimeoutError: there is no answer.
    """

    async def send(out: Outgoing) -> Incoming:
        sent.sending = True
        incoming = await received(await connections.ask(out), read=read)
        status = incoming.response.status
        if incoming.body is not None and sent.is_refused(status, incoming.body.decode("latin-1")):
            again: Outgoing = sent.altered(sent.call)[0][0]
            return await received(await connections.ask(again), read=read)
        return incoming

    task = asyncio.current_task()
    departures: list[Departure] = []
    left = False

    def leave() -> None:
        nonlocal left
        if not sent.sending and task is not None:
            left = task.cancel()

    watching = asyncio.get_running_loop().call_later(
        PATIENT_SECONDS, lambda: departures.append(Departure(receive, leave))
    )
    try:
        incoming: Incoming = await run_async(lambda *_: sent, send, None, sent.args, {})
    except asyncio.CancelledError:
        if not left or task is None or task.uncancel():
            raise
        raise Gone from None
    finally:
        watching.cancel()
        for one in departures:
            one.over()
    return incoming


async def received(response: aiohttp.ClientResponse, *, read: bool) -> Incoming:
    """An answer: read as a whole where it is short and no stream, or an error.

    Args:
        response: of which the head has come.
        read: whether it is read also where nothing tells how long it is.

    Raises:
        aiohttp.ClientError, OSError, TimeoutError: it breaks off.
    """
    kind, length = response.headers.get("content-type", ""), response.headers.get("content-length", "")
    if response.status < 300:
        short = length.isdigit() and int(length) <= MOST_WHOLE
        if not (short or read) or any(one in kind for one in _STREAMS):
            return Incoming(response, None)
    body = bytearray()
    try:
        while data := await response.content.readany():
            body += data
            if len(body) > MOST_WHOLE:
                return Incoming(response, None, bytes(body))
    except BaseException:  # a cancelled task as well: nobody else has the connection
        response.close()
        raise
    return Incoming(response, bytes(body))
