"""Reading what a response says it used, whatever object it comes as.

One reader for the shapes that providers answer in: OpenAI's chat and responses, Anthropic's messages, and those that
speak like them. SDK objects, mappings, raw JSON and HTTP responses are all read the same way. A report that makes no
sense (negative, text, parts larger than the whole) is no report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from budgeted.usage import Counts, Usage

MOST_TOKENS = 100_000_000
"""More than this in one call is nonsense: no model has such a context."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a response says of itself. ``usage`` is None if it does not say, or not sensibly."""

    usage: Counts | None
    model: str | None = None
    id: str | None = None


NOTHING = Answer(None)

_EMPTY: Mapping[str, Any] = {}


def read(response: Any) -> Answer:
    """Read a response: an SDK's object, a mapping, JSON text, or an HTTP response with a JSON body."""
    try:
        fields = _fields(response)
        usage = fields.get("usage")
        if usage is None and "usage" not in fields:
            inner = _inner(response, fields)
            if inner is None:
                return NOTHING
            fields = _fields(inner)
            usage = fields.get("usage")
    except Exception:  # noqa: BLE001 - a stranger's attributes may raise anything, and what was paid for is returned
        return NOTHING
    model = fields.get("model")
    id = fields.get("id")
    tier = fields.get("service_tier")
    return Answer(
        read_usage(usage, tier if tier.__class__ is str else None),
        model if model.__class__ is str and model else None,
        id if id.__class__ is str and id else None,
    )


def read_usage(usage: Any, tier: str | None = None) -> Counts | None:
    """A provider's usage report as its counts, or None if there is none or it makes no sense."""
    if usage is None:
        return None
    if isinstance(usage, Counts):
        return usage
    fields = _fields(usage)
    try:
        if "prompt_tokens" in fields:
            return _chat_usage(fields, tier)
        if "input_tokens" in fields:
            return _messages_usage(fields, tier)
    except (TypeError, ValueError):
        return None
    return None


def _chat_usage(fields: Mapping[str, Any], tier: str | None) -> Counts | None:
    """OpenAI's chat completions and their imitators: totals that include their subsets."""
    get = fields.get
    prompt = fields["prompt_tokens"]
    completion = get("completion_tokens")
    if completion is None:
        completion = 0  # embeddings
    total = get("total_tokens")
    # xAI leaves reasoning out of completion_tokens, not out of the total.
    if total.__class__ is int and total - prompt > completion:
        completion = total - prompt
    if not 0 <= prompt <= MOST_TOKENS or not 0 <= completion <= MOST_TOKENS:
        return None
    more_in = get("prompt_tokens_details")
    more_out = get("completion_tokens_details")
    if more_in is None and more_out is None:
        cached = get("prompt_cache_hit_tokens")
        if not cached and prompt.__class__ is completion.__class__ is int:
            return Counts(prompt, completion, service_tier=tier)
        return Usage(prompt, completion, cached or 0, service_tier=tier)
    ins = _fields(more_in) if more_in is not None else _EMPTY
    outs = _fields(more_out) if more_out is not None else _EMPTY
    return Usage(
        prompt,
        completion,
        ins.get("cached_tokens") or 0,
        ins.get("cache_write_tokens") or 0,
        0,
        min(outs.get("reasoning_tokens") or 0, completion),
        ins.get("audio_tokens") or 0,
        0,
        outs.get("audio_tokens") or 0,
        ins.get("image_tokens") or 0,
        outs.get("image_tokens") or 0,
        0,
        tier,
    )


def _messages_usage(fields: Mapping[str, Any], tier: str | None) -> Counts | None:
    """Anthropic's messages, where cached input is counted apart, and OpenAI's responses, where it is included."""
    sent = fields["input_tokens"]
    output = fields.get("output_tokens") or 0
    if not 0 <= output <= MOST_TOKENS:
        return None
    if "cache_read_input_tokens" in fields or "cache_creation_input_tokens" in fields:
        read = fields.get("cache_read_input_tokens") or 0
        written = fields.get("cache_creation_input_tokens") or 0
        split = _fields(fields.get("cache_creation"))
        tools = _fields(fields.get("server_tool_use"))
        speed = fields.get("speed")
        sent = (sent or 0) + read + written
        if not 0 <= sent <= MOST_TOKENS:
            return None
        return Usage(
            sent,
            output,
            read,
            written,
            split.get("ephemeral_1h_input_tokens") or 0,
            web_searches=tools.get("web_search_requests") or 0,
            service_tier="fast" if speed == "fast" else fields.get("service_tier") or tier,
        )
    if not 0 <= sent <= MOST_TOKENS:
        return None
    ins = _fields(fields.get("input_tokens_details"))
    outs = _fields(fields.get("output_tokens_details"))
    return Usage(
        sent,
        output,
        ins.get("cached_tokens") or 0,
        ins.get("cache_write_tokens") or 0,
        reasoning_tokens=min(outs.get("reasoning_tokens") or 0, output),
        input_audio_tokens=ins.get("audio_tokens") or 0,
        output_audio_tokens=outs.get("audio_tokens") or 0,
        input_image_tokens=ins.get("image_tokens") or 0,
        output_image_tokens=outs.get("image_tokens") or 0,
        service_tier=tier,
    )


_TEXTS = frozenset(
    ("content", "text", "delta", "arguments", "partial_json", "thinking", "reasoning", "reasoning_content", "refusal")
)
_MOST_PARTS = 1_000


def text_bytes(item: Any) -> int:
    """UTF-8 bytes of the text in a chunk of a stream: a string, a mapping, or an SDK's object."""
    total = 0
    pending = [("text", item)]
    for _ in range(_MOST_PARTS):
        if not pending:
            break
        name, value = pending.pop()
        if isinstance(value, str):
            total += len(value.encode("utf-8", "surrogatepass")) if name in _TEXTS else 0
        elif isinstance(value, (list, tuple)):
            pending.extend((name, part) for part in value)
        elif value is not None and not isinstance(value, (bool, int, float, bytes)):
            try:
                pending.extend(_fields(value).items())
            except Exception:  # noqa: BLE001, S112 - as in read()
                continue
    return total


def _fields(value: Any) -> Mapping[str, Any]:
    """An object's fields by name, without running its code."""
    own = getattr(value, "__dict__", None)
    if own is not None:
        extra = getattr(value, "__pydantic_extra__", None)
        if own or extra:
            return {**own, **extra} if extra else own
    if value is None:
        return _EMPTY
    if isinstance(value, Mapping):
        return value
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    slots = getattr(type(value), "__slots__", ())
    return {name: getattr(value, name, None) for name in slots} if slots and not isinstance(value, str) else _EMPTY


def _inner(response: Any, fields: Mapping[str, Any]) -> Any:
    """What a wrapper has inside: a completed event's response, an HTTP response's body, JSON text."""
    if response is None or response.__class__ in (int, float, bool, list, tuple):
        return None
    if "response" in fields and "type" in fields:
        return fields["response"]
    if isinstance(response, (str, bytes, bytearray)):
        text = response.encode("utf-8", "replace") if isinstance(response, str) else bytes(response)
        return _json(text) if text.lstrip()[:1] == b"{" else None
    raw = getattr(response, "http_response", None)
    content = getattr(response if raw is None else raw, "content", None)
    if isinstance(content, (bytes, str)):
        return _json(content)
    return None


def _json(text: bytes | str) -> Any:
    try:
        found = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "usage" in found else None
