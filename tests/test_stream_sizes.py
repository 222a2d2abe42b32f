"""Streams of any size and form pass in time that grows with their size, in bounded memory, and say what they used."""

from __future__ import annotations

import json
import time
import tracemalloc
import zlib
from collections.abc import Callable, ItemsView, Iterator

import pytest

from budgeted.wire.aws_event_stream import FrameMeter
from budgeted.wire.content_type_and_encoding import PackedMeter
from budgeted.wire.server_sent_events import EventMeter, LineMeter
from budgeted.wire.stream_usage import MOST_BODY, ItemMeter

USAGE = {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16}
LAST = b"data: " + json.dumps({"id": "x", "choices": [], "usage": USAGE}).encode() + b"\n\n"
PIECE = 4096
SECONDS = 25.0
"""Three times what the slowest of these takes on a busy machine; where each piece is looked at again with all before
it, a fast one takes a minute."""


def pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]


@pytest.mark.slow
@pytest.mark.parametrize("meter", [EventMeter, lambda: EventMeter(drop_usage=True), LineMeter, FrameMeter])
@pytest.mark.parametrize(
    "unit", [b"x", b'"content":"', b"\\", b"\n", b"\r", b"\r\n", b'"usage"', b"data: ", b"[", b"\0"]
)
def test_an_endless_event_passes_in_time_that_grows_with_its_size(meter: Callable[[], EventMeter], unit: bytes) -> None:
    one, size = meter(), 4 * 2**20
    data = b'data: {"a":"' + unit * (size // len(unit))
    began = time.thread_time()
    passed = b"".join(one.feed(piece) for piece in pieces(data)) + one.flush()
    assert time.thread_time() - began < SECONDS
    assert passed == data


@pytest.mark.slow
@pytest.mark.parametrize("meter", [EventMeter, LineMeter, FrameMeter])
def test_what_is_kept_of_an_endless_event_is_bounded(meter: Callable[[], EventMeter]) -> None:
    one, piece = meter(), b"x" * 2**18
    tracemalloc.start()
    try:
        for _ in range(4 * MOST_BODY // len(piece)):
            one.feed(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * MOST_BODY


@pytest.mark.slow
@pytest.mark.parametrize("drop", [False, True])
def test_what_was_used_is_known_behind_an_event_of_many_megabytes(drop: bool) -> None:
    one = EventMeter(drop_usage=drop)
    image = b'data: {"type":"image","b64_json":"' + b"A" * (6 * 2**20) + b'"}\n\n'
    began = time.thread_time()
    passed = b"".join(one.feed(piece) for piece in pieces(image + LAST)) + one.flush()
    assert time.thread_time() - began < SECONDS
    assert passed == (image if drop else image + LAST)
    usage = one.answer().usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (7, 9)


@pytest.mark.parametrize("size", range(1, 40))
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
@pytest.mark.parametrize("drop", [False, True])
def test_events_are_the_same_in_pieces_of_any_size(size: int, end: bytes, drop: bool) -> None:
    first = b'data: {"choices":[{"delta":{"content":"hello"}}]}' + end
    last = LAST[:-2] + end
    one, data = EventMeter(drop_usage=drop), end + first + first + last
    passed = b"".join(one.feed(data[at : at + size]) for at in range(0, len(data), size)) + one.flush()
    assert passed == (end + first + first if drop else data)
    usage = one.answer().usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (7, 9)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_that_is_a_thousand_times_as_long_unpacked_is_never_in_memory_as_a_whole(encoding: str) -> None:
    pack = zlib.compressobj(wbits=zlib.MAX_WBITS + (16 if encoding == "gzip" else 0))
    bomb = pack.compress(LAST + (b"data: " + b" " * 2**17 + b"\n\n") * 512) + pack.flush()
    inner = EventMeter()
    one = PackedMeter(inner, encoding)
    tracemalloc.start()
    try:
        passed = one.feed(bomb) + one.flush()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 2**20
    assert zlib.decompress(passed, zlib.MAX_WBITS + 32).startswith(LAST)
    usage = inner.answer().usage
    assert usage is not None
    assert usage.output_tokens == 9


class Torn(dict[str, object]):
    """A report that cannot be read to its end."""

    def items(self) -> ItemsView[str, object]:
        raise RuntimeError


@pytest.mark.parametrize("before", [{}, {"usage": {"prompt_tokens": 7, "completion_tokens": 1}}])
def test_a_report_that_was_not_read_to_its_end_is_none_whatever_was_said_before(before: dict[str, object]) -> None:
    said: list[dict[str, object]] = [before, {"usage": Torn(USAGE)}]
    meter = ItemMeter(lambda _: said.pop(0))
    meter.feed("the first")
    meter.feed("the second")
    assert meter.answer().usage is None
