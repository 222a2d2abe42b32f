"""However a stream ends, its hold ends: exactly where the provider said its usage, else as a listed estimate."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from paying import MESSAGES
from ways import bare_name, broken_off, consumer_raises, left_in_a_block

from budgeted.testing import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from paying import Paying

    from budgeted.testing import SimulatedProvider

pytestmark = [pytest.mark.sdk, pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")]

ASK: dict[str, Any] = {"model": "gpt-5-mini", "messages": MESSAGES, "stream": True}
SERVER_ERRORS = (openai.APIError, anthropic.APIError)
TRANSPORTS = [importlib.import_module(name) for name in ("httpx", "httpx2") if importlib.util.find_spec(name)]
BROKEN = (*SERVER_ERRORS, ValueError, *(transport.HTTPError for transport in TRANSPORTS))

KINDS = ["chat", "responses", "messages"]


def opened(kind: str, clients: Clients) -> Any:
    """A stream of one API, or with an asynchronous client what gives one when awaited."""
    if kind == "messages":
        return clients.anthropic.messages.create(
            model="claude-haiku-4-5", max_tokens=2000, messages=MESSAGES, stream=True
        )
    if kind == "responses":
        return clients.openai.responses.create(model="gpt-5-mini", input="Hello there", stream=True)
    return clients.openai.chat.completions.create(**ASK)


class Clients:
    """A client of each SDK."""

    def __init__(self, chat: Any, claude: Any) -> None:
        self.openai = chat
        self.anthropic = claude


@pytest.fixture
def clients(chat: openai.OpenAI, claude: anthropic.Anthropic) -> Clients:
    return Clients(chat, claude)


@pytest.fixture
def async_clients(async_chat: openai.AsyncOpenAI, async_claude: anthropic.AsyncAnthropic) -> Clients:
    return Clients(async_chat, async_claude)


# -- endings at which the provider has said its usage


def _read_to_the_end(stream: Any) -> None:
    for _ in stream:
        pass


def _read_with_next(stream: Any) -> None:
    with contextlib.suppress(StopIteration):
        while True:
            next(stream)


def _read_in_a_block(stream: Any) -> None:
    with stream as same:
        assert same is stream
        assert len(list(same)) > 2


def _read_and_closed(stream: Any) -> None:
    list(stream)
    stream.close()
    stream.close()


def _read_as_bytes(stream: Any) -> None:
    assert b"data:" in b"".join(stream.response.iter_bytes())


def _read_as_bytes_in_chunks(stream: Any) -> None:
    assert b"data:" in b"".join(stream.response.iter_bytes(7))


def _read_as_lines(stream: Any) -> None:
    assert "data:" in "".join(stream.response.iter_lines())


def _read_as_text(stream: Any) -> None:
    assert "data:" in "".join(stream.response.iter_text())


def _read_raw(stream: Any) -> None:
    assert b"".join(stream.response.iter_raw())


def _read_at_once(stream: Any) -> None:
    assert b"data:" in stream.response.read()


WHOLE = [value for name, value in sorted(globals().items()) if name.startswith("_read")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("read", WHOLE, ids=bare_name)
def test_a_stream_that_is_read_to_its_end_is_settled_exactly(
    read: Callable[[Any], None], kind: str, payer: Paying, clients: Clients
) -> None:
    with payer.block() as block:
        stream = opened(kind, clients)
        read(stream)
        assert block.held == 0
    payer.agrees()
    assert block.calls == 1


WIRES: list[dict[str, Any]] = [
    {"gzip": True},
    {"crlf": True},
    {"write_size": 1},
    {"write_size": 3},
    {"write_size": 2, "crlf": True},
    {"write_size": 5, "gzip": True},
    {"split_usage": True},
    {"done": False},
    {"pieces": 1},
    {"text": 'data: [DONE]\n\n{"usage": {"prompt_tokens": 1, "completion_tokens": 1}, "choices": []} "usage":null'},
    {"tool": "weather", "text": '{"city": "Rome"}'},
    {"reasoning_tokens": 500, "output_tokens": 503},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("read", [_read_to_the_end, _read_raw], ids=lambda read: read.__name__)
@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: str(wire)[:40])
def test_however_it_comes_over_the_wire_it_is_settled_exactly(
    wire: dict[str, Any],
    read: Callable[[Any], None],
    kind: str,
    payer: Paying,
    clients: Clients,
    provider: SimulatedProvider,
) -> None:
    provider.reply(**wire)
    with payer.block():
        read(opened(kind, clients))
    payer.agrees()


def test_usage_that_arrived_is_exact_even_if_the_stream_is_left_after_it(payer: Paying, chat: openai.OpenAI) -> None:
    with payer.block():
        stream = chat.chat.completions.create(**ASK, stream_options={"include_usage": True})
        for chunk in stream:
            if chunk.usage is not None:
                break
        stream.close()
    payer.agrees()


def test_an_anthropic_stream_left_after_its_last_usage_is_exact(payer: Paying, claude: anthropic.Anthropic) -> None:
    with payer.block(), claude.messages.stream(model="claude-haiku-4-5", max_tokens=2000, messages=MESSAGES) as stream:
        for event in stream:
            if event.type == "message_delta":
                break
    payer.agrees()


# -- endings before that


def _broken_off_and_deleted(stream: Any) -> None:
    for _ in stream:
        break
    del stream
    gc.collect()


def _closed_unread(stream: Any) -> None:
    stream.close()


def _closed_midway(stream: Any) -> None:
    next(stream)
    stream.close()


def _never_read(stream: Any) -> None:
    del stream
    gc.collect()


def _interrupted(stream: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        for _ in stream:
            raise KeyboardInterrupt


def _raw_left(stream: Any) -> None:
    next(stream.response.iter_raw())
    stream.response.close()


def _bytes_left(stream: Any) -> None:
    for _ in stream.response.iter_bytes():
        break
    stream.response.close()


LEFT = [
    broken_off,
    _broken_off_and_deleted,
    _closed_unread,
    _closed_midway,
    left_in_a_block,
    _never_read,
    consumer_raises,
    _interrupted,
    _raw_left,
    _bytes_left,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("leave", LEFT, ids=bare_name)
def test_a_stream_that_is_left_is_charged_an_estimate(
    leave: Callable[[Any], None], kind: str, payer: Paying, clients: Clients, provider: SimulatedProvider
) -> None:
    provider.reply(gate_after=2, output_tokens=40)
    with payer.block() as block:
        held = [opened(kind, clients)]  # in a list, so that who leaves it has the only reference
        assert provider.wait_parked()
        leave(held.pop())
    (charge,) = payer.guessed()
    provider.release()  # a response that is merely forgotten leaves its connection open, with the SDK alone as well
    assert provider.wait_idle()
    assert charge.reason == "the stream was left before it said what it used"
    assert round(charge.cost * 1e9) == payer.spent == round(block.spent * 1e9) >= provider.billed_nano()
    assert block.calls == payer.charges() == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "reply",
    [
        {"error_after": 3},
        {"drop_after": 3},
        {"malformed_after": 3},
        {"drop_after": 0},
        {"malformed_after": 3, "write_size": 1},
        {"drop_after": 3, "gzip": True},
    ],
    ids=str,
)
def test_a_stream_that_breaks_is_charged_an_estimate(
    reply: dict[str, Any], kind: str, payer: Paying, clients: Clients, provider: SimulatedProvider
) -> None:
    provider.reply(**reply, output_tokens=20)
    with payer.block() as block, contextlib.suppress(*BROKEN):
        list(opened(kind, clients))
    payer.guessed()
    assert payer.spent == round(block.spent * 1e9) >= provider.billed_nano() > 0
    assert payer.charges() == 1


NONSENSE: list[Any] = [
    None,
    {},
    "a lot",
    [],
    17,
    {"prompt_tokens": -5, "completion_tokens": 3, "input_tokens": -5, "output_tokens": 3},
    {"prompt_tokens": "5", "completion_tokens": None, "input_tokens": "5", "output_tokens": None},
    {"prompt_tokens": 10**15, "completion_tokens": 10**15, "input_tokens": 10**15, "output_tokens": 10**15},
    {"prompt_tokens": 1.5, "completion_tokens": 2, "input_tokens": 1.5, "output_tokens": 2},
    {"prompt_tokens": True, "completion_tokens": True, "input_tokens": True, "output_tokens": True},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("usage", NONSENSE, ids=lambda usage: str(usage)[:40])
def test_a_stream_without_a_sensible_usage_is_charged_an_estimate(
    usage: Any, kind: str, payer: Paying, clients: Clients, provider: SimulatedProvider
) -> None:
    provider.reply(usage=usage, output_tokens=20)
    with payer.block(), contextlib.suppress(*BROKEN, TypeError, AttributeError):
        list(opened(kind, clients))
    payer.guessed()
    assert payer.spent >= provider.billed_nano()


def test_what_was_received_is_charged_where_that_is_more_than_the_guess(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying()
    provider.reply(usage=None, output_tokens=200, pieces=200)
    with payer.block():
        list(chat.chat.completions.create(**ASK))
    charge = payer.manager.uncertain()[0]
    assert payer.spent >= 200 * 2000
    assert charge.cost * 1e9 == pytest.approx(payer.spent)


def test_no_charge_is_guessed_if_that_is_wanted(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(on_uncertain="release")
    provider.reply(gate_after=1)
    with payer.block():
        chat.chat.completions.create(**ASK).close()
    assert payer.manager.uncertain() == []
    assert payer.spent == 0


def test_the_whole_hold_is_charged_if_that_is_wanted(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(on_uncertain="hold")
    provider.reply(gate_after=1)
    with payer.block():
        chat.chat.completions.create(**ASK, max_completion_tokens=5000).close()
    (charge,) = payer.manager.uncertain()
    assert charge.cost == charge.held > 5000 * 2 / 1e6


# -- what the caller sees


def test_the_chunk_that_was_asked_for_in_the_callers_name_is_never_seen(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    with payer.block():
        stream = chat.chat.completions.create(**ASK)
        assert all(chunk.choices and chunk.usage is None for chunk in stream)
        raw = b"".join(chat.chat.completions.create(**ASK).response.iter_bytes())
        wire = b"".join(chat.chat.completions.create(**ASK).response.iter_raw())
    assert b"prompt_tokens" not in raw + wire
    assert raw.endswith(b"data: [DONE]\n\n")
    assert all(request.body["stream_options"]["include_usage"] for request in provider.requests)
    payer.agrees(calls=3)


def test_it_is_not_seen_in_the_bytes_of_a_compressed_stream_either(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    for wire in ({}, {"write_size": 3}, {"write_size": 1, "crlf": True}):
        provider.reply(gzip=True, **wire)
        with payer.block():
            packed = b"".join(chat.chat.completions.create(**ASK).response.iter_raw())
        assert b"prompt_tokens" not in gzip.decompress(packed)
        assert gzip.decompress(packed).replace(b"\r", b"").endswith(b"data: [DONE]\n\n")
    payer.agrees(calls=3)


def _answering(body: bytes, encoding: str) -> Any:
    """An HTTP client of the library that the SDK uses, whose every request is answered with this body."""
    http = importlib.import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])
    headers = {"content-type": "text/event-stream", "content-encoding": encoding}
    return http.Client(
        transport=http.MockTransport(lambda _: http.Response(200, headers=headers, stream=http.ByteStream(body)))
    )


def test_a_body_that_is_not_packed_as_it_says_is_passed_on_as_it_is(payer: Paying) -> None:
    bodies: list[tuple[str, bytes]] = [
        ("gzip", b"data: [DONE]\n\n"),
        ("br", b"data: [DONE]\n\n"),
        ("deflate", gzip.compress(b"data: {}\n\n")[:-9] + b"damaged"),
    ]
    for encoding, body in bodies:
        with payer.block(), _answering(body, encoding) as http:
            client = openai.OpenAI(base_url="http://127.0.0.1/v1", api_key="any", http_client=http)
            assert b"".join(client.chat.completions.create(**ASK).response.iter_raw()) == body
    payer.guessed(calls=3)


def test_the_chunk_that_the_caller_asked_for_is_seen(payer: Paying, chat: openai.OpenAI) -> None:
    with payer.block():
        *_, last = chat.chat.completions.create(**ASK, stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage.total_tokens > 0
    payer.agrees()


@pytest.mark.parametrize("kind", KINDS)
def test_the_callers_object_is_the_sdks_own(kind: str, payer: Paying, clients: Clients) -> None:
    plain = opened(kind, clients)
    with payer.block():
        metered = opened(kind, clients)
    assert type(metered) is type(plain)
    assert type(metered.response) is type(plain.response)
    assert [type(item) for item in metered] == [type(item) for item in plain]
    assert metered.response.is_closed
    payer.agrees(calls=2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("write_size", [None, 1, 4])
def test_no_chunk_is_delayed(
    kind: str, write_size: int | None, payer: Paying, clients: Clients, provider: SimulatedProvider
) -> None:
    provider.reply(gate_after=1, write_size=write_size, output_tokens=12, pieces=4)
    with payer.block():
        stream = opened(kind, clients)
        seen = []
        for item in stream:  # hangs here if the piece before the gate is kept back
            seen.append(item)
            if _is_piece(item) and sum(map(_is_piece, seen)) == 1:
                assert provider.wait_parked()
                provider.release()
    assert len(seen) > 4
    payer.agrees()


def _is_piece(item: Any) -> bool:
    if getattr(item, "choices", None):
        return bool(item.choices[0].delta.content)
    return getattr(item, "type", "") in ("response.output_text.delta", "content_block_delta")


def test_a_response_keeps_working_when_only_its_method_is_kept(payer: Paying, chat: openai.OpenAI) -> None:
    with payer.block():
        chunks = chat.chat.completions.with_raw_response.create(**ASK).http_response.iter_bytes()
        gc.collect()
        assert b"[DONE]" in b"".join(chunks)
    payer.agrees()


def test_a_stream_outlives_its_block(payer: Paying, chat: openai.OpenAI) -> None:
    with payer.block() as block:
        stream = chat.chat.completions.create(**ASK)
    assert block.held > 0
    with payer.block("bob") as other:
        list(stream)
    payer.agrees()
    assert block.spent > 0
    assert other.spent == 0


# -- coroutines


async def _aread(stream: Any) -> None:
    async for _ in stream:
        pass


async def _aread_in_a_block(stream: Any) -> None:
    async with stream as same:
        assert same is stream
        assert [item async for item in same]


async def _aread_bytes(stream: Any) -> None:
    assert [data async for data in stream.response.aiter_bytes()]


async def _aread_lines(stream: Any) -> None:
    assert [line async for line in stream.response.aiter_lines()]


async def _aread_raw(stream: Any) -> None:
    assert [data async for data in stream.response.aiter_raw()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wire", [{}, {"gzip": True}, {"write_size": 1, "crlf": True}], ids=str)
@pytest.mark.parametrize(
    "read", [_aread, _aread_in_a_block, _aread_bytes, _aread_lines, _aread_raw], ids=lambda read: read.__name__
)
def test_an_asynchronous_stream_that_is_read_is_settled_exactly(
    read: Callable[[Any], Any],
    wire: dict[str, Any],
    kind: str,
    payer: Paying,
    async_clients: Clients,
    provider: SimulatedProvider,
) -> None:
    provider.reply(**wire)

    async def main() -> None:
        async with async_clients.openai, async_clients.anthropic, payer.block() as block:
            await read(await opened(kind, async_clients))
            assert block.held == 0

    asyncio.run(main())
    payer.agrees()


async def _abroken_off(stream: Any) -> None:
    async for _ in stream:
        break


async def _aclosed_unread(stream: Any) -> None:
    await stream.close()


async def _aclosed_midway(stream: Any) -> None:
    await anext(stream)
    await stream.close()


async def _aleft_in_a_block(stream: Any) -> None:
    async with stream:
        await anext(stream)


async def _anever_read(stream: Any) -> None:
    del stream
    gc.collect()


async def _aconsumer_raises(stream: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        async for _ in stream:
            raise ZeroDivisionError


async def _acancelled(stream: Any) -> None:
    reached = asyncio.Event()

    async def consume() -> None:
        async for item in stream:
            if _is_piece(item):
                reached.set()

    task = asyncio.create_task(consume())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


ALEFT = [
    _abroken_off,
    _aclosed_unread,
    _aclosed_midway,
    _aleft_in_a_block,
    _anever_read,
    _aconsumer_raises,
    _acancelled,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("leave", ALEFT, ids=bare_name)
def test_an_asynchronous_stream_that_is_left_is_charged_an_estimate(
    leave: Callable[[Any], Any], kind: str, payer: Paying, async_clients: Clients, provider: SimulatedProvider
) -> None:
    provider.reply(gate_after=2, output_tokens=40)

    async def main() -> None:
        async with async_clients.openai, async_clients.anthropic, payer.block():
            held = [await opened(kind, async_clients)]
            assert await asyncio.to_thread(provider.wait_parked)
            await leave(held.pop())

    asyncio.run(main())
    (charge,) = payer.guessed()
    provider.release()
    assert provider.wait_idle()
    assert round(charge.cost * 1e9) == payer.spent >= provider.billed_nano()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "reply", [{"error_after": 3}, {"drop_after": 3}, {"malformed_after": 3}, {"usage": None}], ids=str
)
def test_an_asynchronous_stream_that_breaks_is_charged_an_estimate(
    reply: dict[str, Any], kind: str, payer: Paying, async_clients: Clients, provider: SimulatedProvider
) -> None:
    provider.reply(**reply, output_tokens=20)

    async def main() -> None:
        async with async_clients.openai, async_clients.anthropic, payer.block():
            with contextlib.suppress(*BROKEN, AttributeError, TypeError):
                async for _ in await opened(kind, async_clients):
                    pass

    asyncio.run(main())
    payer.guessed()
    assert payer.spent >= provider.billed_nano()


def test_many_streams_at_once_are_told_apart(
    payer: Paying, async_chat: openai.AsyncOpenAI, provider: SimulatedProvider
) -> None:
    provider.queue(*(Reply(output_tokens=10 + number, write_size=3) for number in range(20)))

    async def one(user: str) -> None:
        async with payer.block(user):
            async for _ in await async_chat.chat.completions.create(**ASK):
                pass

    async def main() -> None:
        async with async_chat:
            await asyncio.gather(*(one(f"user{number % 3}") for number in range(20)))

    asyncio.run(main())
    payer.agrees(calls=20)


def generator(chunks: Any) -> Iterator[Any]:
    yield from chunks


async def agenerator(chunks: Any) -> AsyncIterator[Any]:
    async for chunk in chunks:
        yield chunk


def test_a_stream_passed_on_by_a_generator_that_is_left_is_charged_an_estimate(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    provider.reply(gate_after=2)
    with payer.block():
        passed_on = generator(chat.chat.completions.create(**ASK))
        next(passed_on)
        passed_on.close()
    payer.guessed()


def test_an_asynchronous_stream_passed_on_by_a_generator_that_is_left_is_charged_an_estimate(
    payer: Paying, async_chat: openai.AsyncOpenAI, provider: SimulatedProvider
) -> None:
    provider.reply(gate_after=2)

    async def main() -> None:
        async with async_chat, payer.block():
            passed_on = agenerator(await async_chat.chat.completions.create(**ASK))
            await anext(passed_on)
            await passed_on.aclose()

    asyncio.run(main())
    payer.guessed()
