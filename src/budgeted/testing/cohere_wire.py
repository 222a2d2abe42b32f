"""Cohere's chat and embeddings on the wire, in the second version of the API.

https://docs.cohere.com/reference/chat, https://docs.cohere.com/v2/docs/streaming and
https://docs.cohere.com/reference/embed
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .api import Api, positive, required
from .chat_wire import functions
from .model import Answer, Call, prompt_tokens, schema_tokens, split
from .other_wire import DIMENSIONS
from .sse import Event, named_event

_FINISH = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool": "TOOL_CALL"}


def failure(status: int, message: str) -> dict[str, Any]:  # noqa: ARG001 - as every API has it
    """Return the body of an error."""
    return {"id": "simulated", "message": message}


BROKEN = named_event({"type": "message-end", "id": "simulated", "delta": {"error": "failed", "finish_reason": "ERROR"}})


def _usage(answer: Answer) -> dict[str, Any]:
    """Return what is billed; what the tokenizer counts is more, with the prompt's special tokens."""
    sent, made = answer.counts.input_tokens, answer.counts.output_tokens
    return {
        "billed_units": {"input_tokens": float(sent), "output_tokens": float(made)},
        "tokens": {"input_tokens": float(sent + 63), "output_tokens": float(made + 2)},
    }


def _usage_part(answer: Answer) -> dict[str, Any]:
    return {"usage": answer.shown_usage(_usage(answer))} if answer.says_usage else {}


def _read(_path: str, body: dict[str, Any]) -> Call:
    messages = required(body, "messages", list)
    response_format = body.get("response_format") or {}
    is_json = response_format.get("type") == "json_object"
    schema = response_format.get("json_schema") or response_format.get("schema")
    tools = {tool["function"]["name"]: tool["function"].get("parameters") for tool in functions(body.get("tools"))}
    return Call(
        api="cohere.chat",
        model=required(body, "model", str),
        body=body,
        stream=bool(body.get("stream")),
        cap=positive(body, "max_tokens"),
        input_tokens=prompt_tokens(messages, body.get("documents") or [], messages=len(messages), tools=len(tools))
        + schema_tokens(body.get("tools"))
        + schema_tokens(schema),
        schema=(schema or {"type": "object"}) if is_json else None,
        tools=tools,
        forced=next(iter(tools), None) if body.get("tool_choice") == "REQUIRED" else None,
        thinks=(body.get("thinking") or {}).get("type") == "enabled",
    )


def _message(answer: Answer) -> dict[str, Any]:
    content = [{"type": "thinking", "thinking": answer.thought}] if answer.thought else []
    if answer.tool is None:
        return {"role": "assistant", "content": [*content, {"type": "text", "text": answer.texts[0]}]}
    function = {"name": answer.tool.name, "arguments": answer.texts[0]}
    call = {"id": f"call_{answer.number}", "type": "function", "function": function}
    return {"role": "assistant", "content": content, "tool_plan": "I will use a tool.", "tool_calls": [call]}


def _body(_call: Call, answer: Answer) -> dict[str, Any]:
    body = {"id": answer.id, "finish_reason": _FINISH[answer.finish], "message": _message(answer)}
    return body | _usage_part(answer)


def _events(_call: Call, answer: Answer) -> Iterator[Event]:
    message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield named_event({"type": "message-start", "id": answer.id, "delta": {"message": message}})
    kind, field = ("tool-call", "tool_calls") if answer.tool else ("content", "content")
    first: Any = {"type": "text", "text": ""}
    if answer.tool:
        function = {"name": answer.tool.name, "arguments": ""}
        first = {"id": f"call_{answer.number}", "type": "function", "function": function}
    yield named_event({"type": f"{kind}-start", "index": 0, "delta": {"message": {field: first}}})
    for piece in split(answer.texts[0], answer.pieces):
        part = {"function": {"arguments": piece}} if answer.tool else {"text": piece}
        yield named_event({"type": f"{kind}-delta", "index": 0, "delta": {"message": {field: part}}}, "piece")
    yield named_event({"type": f"{kind}-end", "index": 0})
    delta = {"finish_reason": _FINISH[answer.finish]} | _usage_part(answer)
    yield named_event({"type": "message-end", "id": answer.id, "delta": delta}, "usage")


def _read_embed(_path: str, body: dict[str, Any]) -> Call:
    texts = [*(body.get("texts") or ()), *(body.get("inputs") or ())]
    return Call(
        api="cohere.embed",
        model=required(body, "model", str),
        body=body,
        input_tokens=max(1, prompt_tokens(texts)),
        writes=False,
    )


def _embed_body(call: Call, answer: Answer) -> dict[str, Any]:
    texts = call.body.get("texts") or []
    vector = [0.25] * (positive(call.body, "output_dimension") or DIMENSIONS)
    body = {
        "id": answer.id,
        "texts": texts,
        "embeddings": {"float": [vector for _ in texts or call.body.get("inputs") or ()]},
        "response_type": "embeddings_by_type",
    }
    true = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": float(answer.counts.input_tokens)}}
    return body | {"meta": answer.shown_usage(true)} if answer.says_usage else body


CHAT = Api(_read, _body, _events, failure, BROKEN)
EMBED = Api(_read_embed, _embed_body, None, failure, BROKEN)
