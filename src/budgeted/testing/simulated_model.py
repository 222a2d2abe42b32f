"""The simulated model: how many tokens a request has, and what is written in answer to it."""

from __future__ import annotations

import itertools
import secrets
import time
import zlib
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from .billing import Counts
from .json_schema_examples import example
from .scripted_reply import Reply

MAX_PIECES = 32
TOKENS_PER_MESSAGE = 3
TOKENS_PER_TOOL = 8
TOKENS_PER_IMAGE = 85
SEARCH_TOOLS = ("web_search", "googleSearch", "googleMaps", "google_search")

# One token each in the encodings of OpenAI's models, with the space before it and without.
WORDS = tuple(
    f" {word}"
    for word in "the of and to in is that for it as was with be by on not he his but at are this have from or had an"
    " they which one you were".split()
)
_LABELS = frozenset(
    "type role id tool_call_id tool_use_id call_id url image_url data file_data file_id media_type status detail model"
    " cache_control signature encrypted_content".split()
)


class Tool(msgspec.Struct, frozen=True):
    """A tool call that the model makes.

    Attributes:
        name: The tool's name.
        arguments: A JSON object.
    """

    name: str
    arguments: str


class Call(msgspec.Struct, kw_only=True):
    """One request for a completion, as every API means it.

    Attributes:
        api: The API's name on the bill.
        prefix: What the ids of its answers begin with.
        model: The model asked for.
        stream: Whether the answer is to be streamed.
        usage_asked: Whether the stream is to tell the usage.
        cap: The most output tokens per choice; None: the model's maximum.
        choices: How many answers are wanted.
        length: How many tokens the model writes of itself; None: that is up to the content, or to chance.
        input_tokens: The tokens of the prompt.
        schema: The JSON schema that the answer follows; None: free text.
        tools: The schemas of the arguments of the tools, by name.
        forced: The tool that must be called; None: none must.
        thinks: Whether thinking was asked for.
        tier: The service tier asked for.
        writes: Whether the model writes text at all (embeddings do not).
        draws: Whether what it writes is pictures.
        by_unit: Whether it is billed by units, such as pages.
        deferred: Whether the answer says only where to ask for what was written.
        body: The request's JSON.
    """

    api: str
    model: str
    body: dict[str, Any]
    prefix: str = ""
    stream: bool = False
    usage_asked: bool = True
    cap: int | None = None
    choices: int = 1
    length: int | None = None
    input_tokens: int = 0
    schema: Any = None
    tools: dict[str, Any] = {}
    forced: str | None = None
    thinks: bool = False
    tier: str | None = None
    writes: bool = True
    draws: bool = False
    by_unit: bool = False
    deferred: bool = False


class Answer(msgspec.Struct, kw_only=True):
    """What the model wrote, whatever the API.

    Attributes:
        id: The answer's id on the wire.
        number: The part of it that no other answer has.
        created: Unix time in seconds.
        model: The model that answered.
        texts: The text of each choice.
        thought: The text of the thinking.
        tool: The tool that is called instead of writing text.
        finish: Why the model stopped.
        counts: The true tokens.
        tier: The service tier that served.
        pieces: How many pieces a stream brings each text in.
        usage: What the answer says in place of the true usage; None: nothing.
        nano_usd: What it costs, in 1e-9 USD, for the APIs that say so.
    """

    id: str
    number: str
    created: int
    model: str
    texts: list[str]
    thought: str
    tool: Tool | None
    finish: Literal["stop", "length", "tool"]
    counts: Counts
    tier: str | None
    pieces: int
    usage: Any
    nano_usd: int = 0

    @property
    def says_usage(self) -> bool:
        """Whether the answer has a usage at all, true or not."""
        return self.usage is not None

    def shown_usage(self, true: dict[str, Any]) -> Any:
        """Return the usage that the answer has, given the true one."""
        return true if self.usage is msgspec.UNSET else self.usage


_PROCESS = secrets.token_hex(4)  # ids are unique among providers in several processes, too
_numbers = itertools.count(1)


def answer(call: Call, reply: Reply, maximum: int, seed: int) -> Answer:
    """Return what the model writes in answer to a call.

    Args:
        call: What is asked.
        reply: How it is to be answered.
        maximum: The most tokens the model can write per choice.
        seed: What the wording, and the length where nothing else decides, depend on.
    """
    tool = _tool(call, reply)
    text = reply.text if reply.text is not None or tool else _structured(call)
    content = tool.arguments if tool else text
    reasoning = 8 * call.thinks if reply.reasoning_tokens is None else reply.reasoning_tokens
    wanted = _wanted(call, reply, content, reasoning, seed)
    written = min(wanted, call.cap or maximum, maximum)
    cut = written < wanted
    reasoning = min(reasoning, written)
    visible = written - reasoning
    if content is not None and cut:
        content = content[: len(content) * visible // (wanted - reasoning)]
    number = f"{_PROCESS}{next(_numbers):08x}"
    texts = [words(visible, seed + index) if content is None else content for index in range(call.choices)]
    return Answer(
        id=call.prefix + number,
        number=number,
        created=int(time.time()),
        model=reply.model or call.model,
        texts=texts,
        thought=words(reasoning, seed),
        tool=None if tool is None else Tool(tool.name, texts[0]),
        finish="length" if cut else "tool" if tool else "stop",
        counts=_counts(call, reply, written, reasoning),
        tier=reply.service_tier or call.tier,
        pieces=max(1, min(visible, MAX_PIECES) if reply.pieces is None else reply.pieces),
        usage=reply.usage,
    )


def _wanted(call: Call, reply: Reply, content: str | None, reasoning: int, seed: int) -> int:
    """Return how many tokens the model would write if nothing stopped it."""
    if not call.writes:
        return 0
    for told in (reply.output_tokens, call.length):
        if told is not None:
            return told
    return reasoning + (8 + seed % 57 if content is None else max(1, tokens_of(len(content.encode()))))


def _counts(call: Call, reply: Reply, written: int, reasoning: int) -> Counts:
    cached = reply.cached_tokens + reply.cache_write_tokens
    read = call.input_tokens if reply.input_tokens is None else reply.input_tokens
    return Counts(
        input_tokens=max(read, cached),
        output_tokens=written * call.choices,
        cached_input_tokens=reply.cached_tokens,
        cache_write_tokens=reply.cache_write_tokens,
        cache_write_1h_tokens=reply.cache_write_1h_tokens,
        reasoning_tokens=reasoning * call.choices,
        searches=reply.searches if any(name in str(call.body.get("tools")) for name in SEARCH_TOOLS) else 0,
        drawn_tokens=(written - reasoning) * call.choices if call.draws else 0,
        units=reply.units if call.by_unit else 0,
        pictures=call.choices if call.api == "images" else 0,
    )


def _tool(call: Call, reply: Reply) -> Tool | None:
    name = reply.tool or call.forced
    if name is None:
        return None
    arguments = reply.text or msgspec.json.encode(example(call.tools.get(name) or {"type": "object"})).decode()
    return Tool(name, arguments)


def _structured(call: Call) -> str | None:
    return None if call.schema is None else msgspec.json.encode(example(call.schema)).decode()


def words(count: int, seed: int) -> str:
    """Return a text of `count` tokens."""
    start = seed % len(WORDS)
    turns = (start + count) // len(WORDS) + 1
    return "".join((WORDS * turns)[start : start + count]).lstrip()


def split(text: str, pieces: int) -> Iterator[str]:
    """Yield a text in pieces of about the same length, some empty if it is short."""
    size = len(text)
    for index in range(pieces):
        yield text[index * size // pieces : (index + 1) * size // pieces]


def tokens_of(size: int) -> int:
    """Return the tokens of so many bytes of UTF-8: a quarter, and thus never more than the bytes."""
    return -(-size // 4)


def prompt_tokens(*parts: Any, messages: int = 0, tools: int = 0) -> int:
    """Return the tokens of a prompt: its text, its messages, tools and images."""
    size = images = 0
    for part in parts:
        bytes_of_part, images_of_part = _measure(part)
        size, images = size + bytes_of_part, images + images_of_part
    overhead = messages * TOKENS_PER_MESSAGE + tools * TOKENS_PER_TOOL + images * TOKENS_PER_IMAGE
    return tokens_of(size) + overhead + (TOKENS_PER_MESSAGE if messages else 0)


def _measure(part: Any) -> tuple[int, int]:
    """Return the bytes of all text in a part of a request, and its images."""
    if isinstance(part, str):
        return len(part.encode(errors="surrogatepass")), 0
    size = images = 0
    inner: list[Any] = []
    if isinstance(part, dict):
        images = "image" in str(part.get("type"))
        inner = [value for key, value in part.items() if key not in _LABELS]
    elif isinstance(part, list):
        inner = part
    for value in inner:
        bytes_of_value, images_of_value = _measure(value)
        size, images = size + bytes_of_value, images + images_of_value
    return size, images


def schema_tokens(schema: Any) -> int:
    """Return the tokens of a JSON schema that a request brings along."""
    return 0 if not schema else tokens_of(len(msgspec.json.encode(schema)))


def seed_of(data: bytes, seed: int) -> int:
    """Return a number that depends on a request and on the provider's seed only."""
    return zlib.crc32(data, seed)
