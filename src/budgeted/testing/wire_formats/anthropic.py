"""Anthropic's messages on the wire.

https://platform.claude.com/docs/en/api/messages and https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..server_sent_events import Event, named_event
from ..simulated_model import Answer, Call, prompt_tokens, schema_tokens, split
from .api_interface import Api, BadRequest, positive, required

_STOP = {"stop": "end_turn", "length": "max_tokens", "tool": "tool_use"}
_SIGNATURE = "c2ltdWxhdGVk"
_EMPTY: dict[str, dict[str, Any]] = {  # as blocks are before their deltas
    "thinking": {"thinking": "", "signature": ""},
    "text": {"text": ""},
    "tool_use": {"input": {}},
}


def failure(status: int, message: str) -> dict[str, Any]:
    """Return the body of an error."""
    kinds = {
        400: "invalid_request_error",
        401: "authentication_error",
        404: "not_found_error",
        429: "rate_limit_error",
        529: "overloaded_error",
    }
    error = {"type": kinds.get(status, "api_error"), "message": message}
    return {"type": "error", "error": error, "request_id": "req_simulated"}


BROKEN = named_event(failure(529, "Overloaded"))


def usage(answer: Answer) -> dict[str, Any]:
    """Return the usage that an answer really has; what was cached is not part of `input_tokens` here."""
    counts = answer.counts
    return {
        "input_tokens": counts.input_tokens - counts.cached_input_tokens - counts.cache_write_tokens,
        "cache_creation_input_tokens": counts.cache_write_tokens,
        "cache_read_input_tokens": counts.cached_input_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": counts.cache_write_tokens - counts.cache_write_1h_tokens,
            "ephemeral_1h_input_tokens": counts.cache_write_1h_tokens,
        },
        "output_tokens": counts.output_tokens,
        "service_tier": "standard",
        "server_tool_use": {"web_search_requests": counts.searches} if counts.searches else None,
    }


def _read(_path: str, body: dict[str, Any]) -> Call:
    if positive(body, "max_tokens") is None:
        raise BadRequest("max_tokens: Field required")
    return _read_prompt(_path, body)


def _read_prompt(_path: str, body: dict[str, Any]) -> Call:
    messages = required(body, "messages", list)
    tools = {tool["name"]: tool["input_schema"] for tool in body.get("tools") or () if "input_schema" in tool}
    output = body.get("output_format") or (body.get("output_config") or {}).get("format") or {}
    return Call(
        api="messages",
        prefix="msg_",
        model=required(body, "model", str),
        body=body,
        stream=bool(body.get("stream")),
        cap=positive(body, "max_tokens"),
        input_tokens=prompt_tokens(messages, body.get("system") or "", messages=len(messages), tools=len(tools))
        + schema_tokens(body.get("tools"))
        + schema_tokens(output),
        schema=output.get("schema"),
        tools=tools,
        forced=_forced(body.get("tool_choice") or {}, tools),
        thinks=(body.get("thinking") or {}).get("type") in ("enabled", "adaptive"),
    )


def _forced(choice: dict[str, Any], tools: dict[str, Any]) -> str | None:
    if choice.get("type") == "tool":
        return str(choice["name"])
    return next(iter(tools), None) if choice.get("type") == "any" else None


def _blocks(answer: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.thought:
        blocks.append({"type": "thinking", "thinking": answer.thought, "signature": _SIGNATURE})
    if answer.tool is None:
        blocks.append({"type": "text", "text": answer.texts[0]})
    else:
        arguments = _arguments(answer.tool.arguments)
        blocks.append(
            {"type": "tool_use", "id": f"toolu_{answer.number}", "name": answer.tool.name, "input": arguments}
        )
    return blocks


def _arguments(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:  # cut off by max_tokens
        return {}


def _message(answer: Answer, content: list[dict[str, Any]], stop: str | None) -> dict[str, Any]:
    message = {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
    }
    shown = answer.shown_usage(usage(answer))
    return message if shown is None else message | {"usage": shown}


def _body(_call: Call, answer: Answer) -> dict[str, Any]:
    return _message(answer, _blocks(answer), _STOP[answer.finish])


def _events(_call: Call, answer: Answer) -> Iterator[Event]:
    start = _message(answer, [], None)
    if answer.usage is msgspec.UNSET:
        start["usage"] |= {"output_tokens": 1}
    yield named_event({"type": "message_start", "message": start})
    for index, block in enumerate(_blocks(answer)):
        yield from _block_events(index, block, answer)
        if index == 0:
            yield named_event({"type": "ping"})
    delta: dict[str, Any] = {
        "type": "message_delta",
        "delta": {"stop_reason": _STOP[answer.finish], "stop_sequence": None},
    }
    if answer.says_usage:
        delta["usage"] = answer.shown_usage(_final_usage(answer))
    yield named_event(delta, "usage" if answer.says_usage else "frame")
    yield named_event({"type": "message_stop"})


def _final_usage(answer: Answer) -> dict[str, Any]:
    """Return the usage of `message_delta`: the totals of the whole message, not what came since the last one."""
    left_out = ("cache_creation", "service_tier")
    return {name: value for name, value in usage(answer).items() if name not in left_out}


def _block_events(index: int, block: dict[str, Any], answer: Answer) -> Iterator[Event]:
    kind = block["type"]
    yield named_event({"type": "content_block_start", "index": index, "content_block": block | _EMPTY[kind]})
    if kind == "thinking":
        yield _delta(index, {"type": "thinking_delta", "thinking": block["thinking"]})
        yield _delta(index, {"type": "signature_delta", "signature": _SIGNATURE})
    else:
        for piece in split(answer.texts[0], answer.pieces):
            by_kind = {"type": "text_delta", "text": piece} if kind == "text" else _partial_json(piece)
            yield named_event({"type": "content_block_delta", "index": index, "delta": by_kind}, "piece")
    yield named_event({"type": "content_block_stop", "index": index})


def _partial_json(piece: str) -> dict[str, Any]:
    return {"type": "input_json_delta", "partial_json": piece}


def _delta(index: int, delta: dict[str, Any]) -> Event:
    return named_event({"type": "content_block_delta", "index": index, "delta": delta})


def _read_at_vertex(path: str, body: dict[str, Any]) -> Call:
    model = path.partition("?")[0].rpartition("/")[2].rpartition(":")[0]
    return _read(path, body | {"model": model.replace("@", "-")})


MESSAGES = Api(_read, _body, _events, failure, BROKEN)
AT_VERTEX = Api(_read_at_vertex, _body, _events, failure, BROKEN)


def count_tokens(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of the free API that counts tokens."""
    return {"input_tokens": _read_prompt(path, body).input_tokens}
