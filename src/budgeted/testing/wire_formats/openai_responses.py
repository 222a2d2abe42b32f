"""OpenAI's responses on the wire.

https://developers.openai.com/api/reference/resources/responses
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from ..server_sent_events import Event, named_event
from ..simulated_model import Answer, Call, prompt_tokens, schema_tokens, split
from .api_interface import Api, positive, required
from .openai_chat_completions import failure, functions

BROKEN = named_event(
    {
        "type": "error",
        "code": "server_error",
        "message": "The server had an error while processing your request.",
        "param": None,
        "sequence_number": 0,
    }
)


def usage(answer: Answer) -> dict[str, Any]:
    """Return the usage that an answer really has."""
    counts = answer.counts
    return {
        "input_tokens": counts.input_tokens,
        "input_tokens_details": {"cached_tokens": counts.cached_input_tokens, "cache_write_tokens": 0},
        "output_tokens": counts.output_tokens,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning_tokens},
        "total_tokens": counts.input_tokens + counts.output_tokens,
    }


def _read(_path: str, body: dict[str, Any]) -> Call:
    given = required(body, "input", (str, list))
    tools = {tool["name"]: tool.get("parameters") for tool in functions(body.get("tools"))}
    text_format = (body.get("text") or {}).get("format") or {}
    messages = (len(given) if isinstance(given, list) else 1) + bool(body.get("instructions"))
    return Call(
        api="responses",
        prefix="resp_",
        model=required(body, "model", str),
        body=body,
        stream=bool(body.get("stream")),
        cap=positive(body, "max_output_tokens"),
        input_tokens=prompt_tokens(given, body.get("instructions") or "", messages=messages, tools=len(tools))
        + schema_tokens(body.get("tools"))
        + schema_tokens(text_format.get("schema")),
        schema={"type": "object"} if text_format.get("type") == "json_object" else text_format.get("schema"),
        tools=tools,
        forced=_forced(body.get("tool_choice"), tools),
        tier=body.get("service_tier"),
    )


def _forced(choice: Any, tools: dict[str, Any]) -> str | None:
    if isinstance(choice, dict) and choice.get("type") == "function":
        return str(choice["name"])
    return next(iter(tools), None) if choice == "required" else None


def _response(call: Call, answer: Answer, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
    body = call.body
    return {
        "id": answer.id,
        "object": "response",
        "created_at": answer.created,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": answer.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "service_tier": answer.tier if answer.tier not in (None, "auto") else "default",
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": None,
        "metadata": body.get("metadata") or {},
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _item(answer: Answer, status: str, text: str) -> dict[str, Any]:
    if answer.tool is not None:
        return {
            "id": f"fc_{answer.number}",
            "type": "function_call",
            "status": status,
            "arguments": text,
            "call_id": f"call_{answer.number}",
            "name": answer.tool.name,
        }
    content = [_part(text)] if status != "in_progress" else []
    return {"id": f"msg_{answer.number}", "type": "message", "status": status, "role": "assistant", "content": content}


def _output(answer: Answer, status: str) -> list[dict[str, Any]]:
    reasoning = [{"id": f"rs_{answer.number}", "type": "reasoning", "summary": []}] if answer.thought else []
    found = {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "budgets"}}
    searches = [found | {"id": f"ws_{number}"} for number in range(answer.counts.searches)]
    return [*reasoning, *searches, _item(answer, status, answer.texts[0])]


def _finished(call: Call, answer: Answer) -> dict[str, Any]:
    status = "incomplete" if answer.finish == "length" else "completed"
    response = _response(call, answer, status, _output(answer, status))
    shown = answer.shown_usage(usage(answer))
    if shown is None:
        del response["usage"]
        return response
    return response | {"usage": shown}


def _events(call: Call, answer: Answer) -> Iterator[Event]:
    numbers = count()

    def event(kind: str, **fields: Any) -> dict[str, Any]:
        return {"type": f"response.{kind}", "sequence_number": next(numbers), **fields}

    started = _response(call, answer, "in_progress", [])
    yield named_event(event("created", response=started))
    yield named_event(event("in_progress", response=started))
    last = len(_output(answer, "completed")) - 1
    for index, item in enumerate(_output(answer, "completed")[:last]):
        yield named_event(event("output_item.added", output_index=index, item=item))
        yield named_event(event("output_item.done", output_index=index, item=item))
    item = _item(answer, "in_progress", "")
    yield named_event(event("output_item.added", output_index=last, item=item))
    where = {"item_id": item["id"], "output_index": last}
    content = _text_events if answer.tool is None else _argument_events
    for kind, fields in content(answer):
        yield named_event(event(kind, **where, **fields), "piece" if kind.endswith(".delta") else "frame")
    finished = _finished(call, answer)
    yield named_event(event("output_item.done", output_index=last, item=finished["output"][-1]))
    yield named_event(event(finished["status"], response=finished), "usage" if answer.says_usage else "frame")


def _text_events(answer: Answer) -> Iterator[tuple[str, dict[str, Any]]]:
    text = answer.texts[0]
    yield "content_part.added", {"content_index": 0, "part": _part("")}
    for piece in split(text, answer.pieces):
        yield "output_text.delta", {"content_index": 0, "delta": piece, "logprobs": []}
    yield "output_text.done", {"content_index": 0, "text": text, "logprobs": []}
    yield "content_part.done", {"content_index": 0, "part": _part(text)}


def _argument_events(answer: Answer) -> Iterator[tuple[str, dict[str, Any]]]:
    for piece in split(answer.texts[0], answer.pieces):
        yield "function_call_arguments.delta", {"delta": piece}
    name = "" if answer.tool is None else answer.tool.name
    yield "function_call_arguments.done", {"arguments": answer.texts[0], "name": name}


RESPONSES = Api(_read, _finished, _events, failure, BROKEN)
