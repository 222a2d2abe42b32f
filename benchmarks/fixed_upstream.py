"""A provider that answers all alike, as fast as a process can: ``python -m benchmarks.fixed_upstream PORT``.

It costs so little that what is measured is the proxy before it. Its answers are those of OpenAI's chat completions:
whole, or a stream, which says what it used if the request asks for that. A stream that is asked for :data:`SLOWLY` has
its first event at once, and the others when :data:`PAUSE_SECONDS` have passed.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final, cast

import uvloop

MODEL: Final = "gpt-4o-mini"
INPUT_TOKENS: Final = 12
OUTPUT_TOKENS: Final = 10
SLOWLY: Final = b"slowly"
PAUSE_SECONDS: Final = 0.05

_USAGE: Final = b'"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}' % (
    *(INPUT_TOKENS, OUTPUT_TOKENS),
    INPUT_TOKENS + OUTPUT_TOKENS,
)
_WORD: Final = b" word"
_HEAD: Final = (
    b'"created":1700000000,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":null,'
)

WHOLE: Final = (
    b'{"id":"chatcmpl-1","object":"chat.completion",%s"choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"%s","refusal":null},"logprobs":null,"finish_reason":"stop"}],%s}'
) % (_HEAD, _WORD * OUTPUT_TOKENS, _USAGE)


def _event(choices: bytes, rest: bytes = b"") -> bytes:
    return b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk",%s"choices":[%s]%s}\n\n' % (_HEAD, choices, rest)


def _delta(delta: bytes, finish: bytes = b"null") -> bytes:
    return _event(b'{"index":0,"delta":{%s},"logprobs":null,"finish_reason":%s}' % (delta, finish))


EVENTS: Final = (
    _delta(b'"role":"assistant","content":"","refusal":null'),
    *[_delta(b'"content":"%s"' % _WORD)] * OUTPUT_TOKENS,
    _delta(b"", b'"stop"'),
)
USAGE_EVENT: Final = _event(b"", b",%s" % _USAGE)
DONE: Final = b"data: [DONE]\n\n"


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


_OK: Final = b"HTTP/1.1 200 OK\r\nx-request-id: req_1\r\n"
_ANSWER: Final = b"%scontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (_OK, len(WHOLE), WHOLE)
_BEGUN: Final = b"%scontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n%s" % (
    *(_OK, _chunk(EVENTS[0])),
)
_GOES_ON: Final = b"".join(map(_chunk, EVENTS[1:]))
_ENDS: Final = _chunk(DONE) + b"0\r\n\r\n"
_TELLS_USAGE: Final = _chunk(USAGE_EVENT) + _ENDS


class FixedUpstream(asyncio.Protocol):
    """One connection. Requests are taken apart no further than their length."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # as uvloop's is, in all but its class
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[:end].lower()
            _, found, length = head.partition(b"content-length:")
            whole = end + 4 + (int(length.partition(b"\r\n")[0]) if found else 0)
            if len(self.received) < whole:
                return
            body, self.received = self.received[end + 4 : whole], self.received[whole:]
            self.answer(body)

    def answer(self, body: bytes) -> None:
        """Send what a request asks for."""
        if b'"stream"' not in body:
            self.transport.write(_ANSWER)
            return
        rest = _GOES_ON + (_TELLS_USAGE if b'"include_usage"' in body else _ENDS)
        if SLOWLY in body:
            self.transport.write(_BEGUN)
            asyncio.get_running_loop().call_later(PAUSE_SECONDS, self.transport.write, rest)
        else:
            self.transport.write(_BEGUN + rest)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(FixedUpstream, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
