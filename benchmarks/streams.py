"""What metering adds to each chunk of a stream, and whether streams that are abandoned leave memory behind.

The SDKs read a whole stream from memory (a transport that answers at once), so that nothing but the SDK's own work and
ours is measured. Both are timed in turns in one process, and the best of many rounds is taken.
"""

from __future__ import annotations

import gc
import logging
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx2
import openai

import budgeted
from benchmarks.measuring import line
from budgeted import BudgetManager

CHUNKS = 1_000
ROUNDS = 60
STREAMS = 10_000
MESSAGES: Any = [{"role": "user", "content": "Hello!"}]


def chat_events(pieces: int) -> bytes:
    head = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"gpt-5-mini",'
    head += b'"service_tier":"default","system_fingerprint":null,'
    # The padding is OpenAI's.
    piece = (
        b'"choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}],"usage":null,'
        b'"obfuscation":"%06x"}\n\n'
    )
    last = b'"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":%d,"total_tokens":%d}}\n\ndata: [DONE]\n\n'
    return b"".join(head + piece % number for number in range(pieces)) + head + last % (pieces, pieces + 9)


def responses_events(pieces: int) -> bytes:
    piece = (
        b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":%d,'
        b'"item_id":"msg_1","output_index":0,"content_index":0,"delta":" word","logprobs":[]}\n\n'
    )
    end = (
        b'event: response.completed\ndata: {"type":"response.completed","sequence_number":9,"response":{"id":"resp_1",'
        b'"object":"response","created_at":1700000000,"model":"gpt-5-mini","output":[],"parallel_tool_calls":true,'
        b'"tool_choice":"auto","tools":[],"status":"completed","usage":{"input_tokens":9,"output_tokens":%d,'
        b'"total_tokens":%d}}}\n\n' % (pieces, pieces + 9)
    )
    return b"".join(piece % number for number in range(pieces)) + end


def messages_events(pieces: int) -> bytes:
    begin = (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message",'
        b'"role":"assistant","model":"claude-haiku-4-5","content":[],"stop_reason":null,"stop_sequence":null,'
        b'"usage":{"input_tokens":9,"output_tokens":1}}}\n\nevent: content_block_start\n'
        b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
    )
    piece = (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":" word"}}\n\n'
    )
    end = (
        b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
        b'"usage":{"output_tokens":%d}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n' % pieces
    )
    return begin + piece * pieces + end


def answering(events: bytes) -> httpx2.Client:
    """An HTTP client whose every request is answered with these events, each in a piece of its own."""
    parts = [part + b"\n\n" for part in events.split(b"\n\n") if part]

    class Body(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield from parts

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Body())

    return httpx2.Client(transport=httpx2.MockTransport(answer))


def chat(pieces: int) -> Callable[[], Any]:
    """Opens a stream of OpenAI's chat completions."""
    client = openai.OpenAI(api_key="any", http_client=answering(chat_events(pieces)))
    return lambda: client.chat.completions.create(
        model="gpt-5-mini", messages=MESSAGES, stream=True, max_completion_tokens=1000
    )


def responses(pieces: int) -> Callable[[], Any]:
    """Opens a stream of OpenAI's responses."""
    client = openai.OpenAI(api_key="any", http_client=answering(responses_events(pieces)))
    return lambda: client.responses.create(model="gpt-5-mini", input="Hello!", stream=True, max_output_tokens=1000)


def messages(pieces: int) -> Callable[[], Any]:
    """Opens a stream of Anthropic's messages."""
    client = anthropic.Anthropic(api_key="any", http_client=answering(messages_events(pieces)))
    return lambda: client.messages.create(model="claude-haiku-4-5", messages=MESSAGES, stream=True, max_tokens=1000)


def read(opened: Callable[[], Any]) -> float:
    """Microseconds per chunk of one stream, from its first chunk to its end."""
    stream = opened()
    next(stream)
    started = time.thread_time()  # of this thread: others on the machine do not count
    for _ in stream:
        pass
    return (time.thread_time() - started) / CHUNKS * 1e6


def check(manager: BudgetManager, opened: Callable[[], Any]) -> None:
    """See that a stream is charged, whole."""
    budgeted.instrument()
    before = manager.report(by="model").total
    read(opened)
    after = manager.report(by="model").total
    assert (after.calls - before.calls, after.output_tokens - before.output_tokens) == (1, CHUNKS), after


def compare(opened: Callable[[], Any]) -> tuple[float, float]:
    """Microseconds per chunk of the SDK alone, and metered."""
    alone, metered = [], []
    for _ in range(ROUNDS):
        budgeted.uninstrument()
        alone.append(read(opened))
        budgeted.instrument()
        metered.append(read(opened))
    return min(alone), min(metered)


def grown(manager: BudgetManager) -> int:
    """Bytes that so many streams leave behind, every other one abandoned, after as many to warm up.

    The uncertain charges of those are reconciled: they are listed until then.
    """
    opened = chat(4)
    tracemalloc.start()
    sizes = []
    for _ in range(2):
        for number in range(STREAMS):
            stream = opened()
            for _ in stream:
                if number % 2:
                    break
            del stream
        gc.collect()
        for charge in manager.uncertain():
            manager.reconcile(charge.id, cost=charge.cost)
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    return sizes[1] - sizes[0]


def main() -> None:
    logging.getLogger("budgeted").setLevel(logging.ERROR)
    with BudgetManager("streams", max_budget=10**6, ledger="memory://") as manager, manager.budget("alice"):
        for opened in (chat, responses, messages):
            check(manager, opened(CHUNKS))
            alone, metered = compare(opened(CHUNKS))
            line(
                f"{opened.__name__}: a chunk of the SDK alone, and metered",
                f"{alone:.1f}, {metered:.1f} us",
                f"{metered / alone - 1:+.1%} (aim: at most 10%)",
            )
        kilobytes = grown(manager) / 1024
        line(f"{STREAMS:,} streams, every other one abandoned", f"{kilobytes:.0f} KB", "left behind (aim: none)")
