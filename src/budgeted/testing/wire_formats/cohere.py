"""Cohere's chat, embeddings and reranking on the wire, in the second version of the API and the first.

https://docs.cohere.com/reference/chat, https://docs.cohere.com/v2/docs/streaming and
https://docs.cohere.com/reference/embed
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..server_sent_events import Event, Role, named_event
from ..simulated_model import Answer, Call, prompt_tokens, schema_tokens, split
from .api_interface import Api, positive, required
from .openai_chat_completions import functions
from .openai_embeddings_images_audio import DIMENSIONS

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


# -- the first version, whose streams have an event on each line


def _read_first(_path: str, body: dict[str, Any]) -> Call:
    history = body.get("chat_history") or []
    message = required(body, "message" if "message" in body else "prompt", str)
    return Call(
        api="cohere.chat" if "message" in body else "cohere.generate",
        model=body.get("model") or "command-a-03-2025",
        body=body,
        stream=bool(body.get("stream")),
        cap=positive(body, "max_tokens"),
        choices=positive(body, "num_generations") or 1,
        input_tokens=max(1, prompt_tokens(message, history, body.get("preamble") or "")),
    )


def _first_body(call: Call, answer: Answer) -> dict[str, Any]:
    meta = {"api_version": {"version": "1"}} | (answer.shown_usage(_usage(answer)) if answer.says_usage else {})
    if call.api == "cohere.generate":
        generations = [{"id": f"{answer.id}-{index}", "text": text} for index, text in enumerate(answer.texts)]
        return {"id": answer.id, "prompt": call.body["prompt"], "generations": generations, "meta": meta}
    return {
        "response_id": answer.id,
        "generation_id": answer.number,
        "text": answer.texts[0],
        "chat_history": [],
        "finish_reason": _FINISH[answer.finish],
        "meta": meta,
    }


def _first_events(call: Call, answer: Answer) -> Iterator[Event]:
    if call.api == "cohere.chat":
        yield _line({"is_finished": False, "event_type": "stream-start", "generation_id": answer.number})
    for piece in split(answer.texts[0], answer.pieces):
        yield _line({"is_finished": False, "event_type": "text-generation", "text": piece}, "piece")
    end = {"is_finished": True, "event_type": "stream-end", "finish_reason": _FINISH[answer.finish]}
    yield _line(end | {"response": _first_body(call, answer)}, "usage")


def _line(payload: dict[str, Any], role: Role = "frame") -> Event:
    return Event(msgspec.json.encode(payload) + b"\n", role)


# -- reranking


def _read_rerank(_path: str, body: dict[str, Any]) -> Call:
    required(body, "documents", list)
    return Call(api="cohere.rerank", model=required(body, "model", str), body=body, writes=False, by_unit=True)


def _rerank_body(call: Call, answer: Answer) -> dict[str, Any]:
    wanted = positive(call.body, "top_n") or len(call.body["documents"])
    found = [{"index": index, "relevance_score": 0.5} for index in range(wanted)]
    true = {"api_version": {"version": "2"}, "billed_units": {"search_units": float(answer.counts.units)}}
    return {"id": answer.id, "results": found} | ({"meta": answer.shown_usage(true)} if answer.says_usage else {})


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
    if "embedding_types" not in call.body and "inputs" not in call.body:
        body |= {"embeddings": [vector for _ in texts], "response_type": "embeddings_floats"}
    true = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": float(answer.counts.input_tokens)}}
    return body | {"meta": answer.shown_usage(true)} if answer.says_usage else body


_BROKEN_LINE = _line({"is_finished": True, "event_type": "stream-end", "finish_reason": "ERROR"})

CHAT = Api(_read, _body, _events, failure, BROKEN)
FIRST = Api(_read_first, _first_body, _first_events, failure, _BROKEN_LINE, stream_media_type="application/stream+json")
RERANK = Api(_read_rerank, _rerank_body, None, failure, BROKEN)
EMBED = Api(_read_embed, _embed_body, None, failure, BROKEN)
