"""The life of one answer: read, decide, bill, wait, send."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from .answer_delays import Pauses
from .billing import Billed, Counts
from .http_connection import LAST_CHUNK, Connection, Received, chunk, response_head
from .provider_state import Deferred, State
from .scripted_reply import Reply
from .simulated_model import Answer, Call, answer, seed_of
from .stream_sending import StreamedAnswer
from .wire_formats.api_interface import Api, BadRequest

_MESSAGES = {
    400: "Invalid request.",
    401: "Incorrect API key provided.",
    429: "Rate limit reached.",
    529: "Overloaded",
}


class Exchange:
    """One request and its answer.

    Args:
        state: The provider's state.
        connection: The client's connection.
        received: The request.
        failure: Makes the JSON object of an error, given its status and message.
    """

    def __init__(
        self,
        state: State,
        connection: Connection,
        received: Received,
        failure: Callable[[int, str], dict[str, Any]],
    ) -> None:
        self._state = state
        self._connection = connection
        self._received = received
        self._failure = failure
        self._pauses = Pauses(state, connection)
        self._headers = {"x-request-id": "req_simulated", "request-id": "req_simulated"}
        if not received.keep_alive:
            self._headers["connection"] = "close"

    async def send_json(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> bool:
        """Send a JSON value as the answer; return whether all of it was written."""
        data = msgspec.json.encode(body)
        all_headers = {"content-type": "application/json"} | self._headers | (headers or {})
        return await self._connection.send(response_head(status, all_headers, len(data)) + data)

    async def fail(self, status: int, message: str, retry_after: float | None = None) -> bool:
        """Answer with an error in the API's own shape."""
        headers = {}
        if retry_after is not None:
            headers = {"retry-after": f"{retry_after:g}", "retry-after-ms": f"{retry_after * 1000:g}"}
        return await self.send_json(self._failure(status, message), status, headers)

    async def answer_free(self, free: Callable[[str, dict[str, Any]], dict[str, Any]]) -> None:
        """Answer a request that costs nothing."""
        request = self._received.request
        try:
            await self.send_json(free(request.path, request.body))
        except BadRequest as problem:
            await self.fail(400, str(problem))

    async def answer(self, api: Api) -> None:
        """Answer a request for something that is billed."""
        try:
            call = self._read(api)
            reply = self._state.behaviour.choose(self._received.request)
        except (BadRequest, ValueError) as problem:
            await self.fail(400, str(problem))
            return
        if reply.refuse:
            self._connection.reset()
        elif reply.status is None:
            await self._generate(api, call, reply)
        elif await self._first_byte_is_due(reply):
            message = reply.message or _MESSAGES.get(reply.status, "Simulated failure.")
            await self.fail(reply.status, message, reply.retry_after)

    async def answer_deferred(self, deferred: Deferred) -> None:
        """Answer a request for what an earlier one was promised."""
        api, call, reply, written, billed = deferred
        call = msgspec.structs.replace(call, deferred=False)
        await self._send_whole(api._replace(status=200), call, reply, billed, api.body(call, written))

    def _read(self, api: Api) -> Call:
        if not self._received.is_json:
            raise BadRequest("We could not parse the JSON body of your request.")
        try:
            call = api.read(self._received.request.path, self._received.request.body)
            return call if api.by_headers is None else api.by_headers(call, self._received.request)
        except (AttributeError, LookupError, TypeError) as problem:
            raise BadRequest(f"Invalid type for a parameter: {problem}") from problem

    async def _generate(self, api: Api, call: Call, reply: Reply) -> None:
        maximum = self._state.tariff.max_output_tokens(reply.model or call.model)
        written = answer(call, reply, maximum, seed_of(self._received.content, self._state.seed))
        billed = self._book(call, reply, written)
        if not await self._first_byte_is_due(reply):
            return
        if reply.drop:
            self._connection.reset()
        elif call.stream and api.events is not None:
            cut = functools.partial(self._bill_until, billed, written) if reply.stops else None
            streamed = StreamedAnswer(self._connection, self._pauses, reply, billed, api, cut)
            await streamed.send(api.events(call, written), self._headers)
        else:
            if api.headers is not None:
                self._headers |= api.headers(written)
            if call.deferred:
                self._state.deferred[written.id] = Deferred(api, call, reply, written, billed)
            await self._send_whole(api, call, reply, billed, api.body(call, written))

    def _book(self, call: Call, reply: Reply, written: Answer) -> Billed:
        counts = written.counts
        if reply.error_after is not None and call.stream:
            counts = _generated_until(reply.error_after, written)
        billed = Billed(
            id=written.id,
            api=call.api,
            model=written.model,
            usage=counts,
            nano_usd=self._state.tariff.nano_usd(written.model, counts, written.tier),
            stream=call.stream,
            body=call.body,
        )
        written.nano_usd = billed.nano_usd
        if reply.is_billed:
            self._state.bill.add(billed)
        return billed

    def _bill_until(self, billed: Billed, written: Answer, pieces: int) -> None:
        """Bill only what was sent, of an answer whose reader has left."""
        billed.usage = _generated_until(pieces, written)
        billed.nano_usd = self._state.tariff.nano_usd(written.model, billed.usage, written.tier)

    async def _first_byte_is_due(self, reply: Reply) -> bool:
        """Wait as long as the first byte is to wait; return whether the client is still there."""
        if reply.latency:
            await self._pauses.for_seconds(reply.latency)
        if reply.gate is not None:
            await self._pauses.for_gate(reply.gate)
        if reply.hang:
            await self._pauses.for_release()
        return not self._connection.gone

    async def _send_whole(
        self, api: Api, call: Call, reply: Reply, billed: Billed, body: dict[str, Any] | bytes
    ) -> None:
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        is_broken = reply.malformed_after is not None
        if is_broken:
            data = data[: len(data) // 2]
        headers = {"content-type": api.media_type} | self._headers
        if reply.gzip:
            data = zlib.compress(data, wbits=31)
            headers["content-encoding"] = "gzip"
        if reply.drop_after is not None:
            await self._connection.send(response_head(api.status, headers, len(data)) + data[: len(data) // 2])
            self._connection.reset()
            return
        # Marked before the bytes leave: a client that has them must find it so.
        tells = api.tells_usage and not call.deferred
        billed.reported = tells and reply.usage is msgspec.UNSET and not is_broken
        billed.delivered = not call.deferred
        if not await self._write(data, api.status, headers, reply.write_size):
            billed.reported = billed.delivered = False

    async def _write(self, data: bytes, status: int, headers: dict[str, str], size: int | None) -> bool:
        if size is None:
            return await self._connection.send(response_head(status, headers, len(data)) + data)
        sent = await self._connection.send(response_head(status, headers, None))
        for start in range(0, len(data), size):
            sent = sent and await self._connection.send(chunk(data[start : start + size]))
        return sent and await self._connection.send(LAST_CHUNK)


def _generated_until(pieces: int, written: Answer) -> Counts:
    """Return the tokens of an answer that broke off after some pieces."""
    counts = written.counts
    visible = counts.output_tokens - counts.reasoning_tokens
    part = -(-visible * min(pieces, written.pieces) // written.pieces)
    return msgspec.structs.replace(counts, output_tokens=counts.reasoning_tokens + part)
