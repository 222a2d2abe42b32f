"""OpenAI's chat completions and (legacy) completions on the wire.

https://developers.openai.com/api/reference/resources/chat
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..server_sent_events import DONE, Event, Role, data_event
from ..simulated_model import Answer, Call, prompt_tokens, schema_tokens, split
from .api_interface import Api, BadRequest, positive, required

_FINISH = {"stop": "stop", "length": "length", "tool": "tool_calls"}


def failure(status: int, message: str) -> dict[str, Any]:
    """Return the body of an error."""
    kinds = {
        400: "invalid_request_error",
        401: "invalid_request_error",
        404: "invalid_request_error",
        429: "rate_limit_exceeded",
    }
    codes = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
    kind = kinds.get(status, "server_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": codes.get(status)}}


BROKEN = data_event(failure(500, "The server had an error while processing your request."))


def usage(answer: Answer) -> dict[str, Any]:
    """Return the usage that an answer really has."""
    counts = answer.counts
    return {
        "prompt_tokens": counts.input_tokens,
        "completion_tokens": counts.output_tokens,
        "total_tokens": counts.input_tokens + counts.output_tokens,
        "prompt_tokens_details": {"cached_tokens": counts.cached_input_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": counts.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def read_chat(path: str, body: dict[str, Any]) -> Call:
    """Read a request for a chat completion."""
    messages = required(body, "messages", list)
    tools = {tool["function"]["name"]: tool["function"].get("parameters") for tool in functions(body.get("tools"))}
    response_format = body.get("response_format") or {}
    schema = response_format.get("json_schema", {}).get("schema")
    return Call(
        api="chat",
        prefix="chatcmpl-",
        model=model_of(path, body),
        body=body,
        stream=bool(body.get("stream")),
        usage_asked=bool((body.get("stream_options") or {}).get("include_usage")),
        cap=positive(body, "max_completion_tokens") or positive(body, "max_tokens"),
        choices=positive(body, "n") or 1,
        input_tokens=prompt_tokens(messages, messages=len(messages), tools=len(tools))
        + schema_tokens(body.get("tools"))
        + schema_tokens(schema),
        schema={"type": "object"} if response_format.get("type") == "json_object" else schema,
        tools=tools,
        forced=_forced(body.get("tool_choice"), tools),
        tier=body.get("service_tier"),
    )


def model_of(path: str, body: dict[str, Any]) -> str:
    """Return the model asked for: Azure's deployment in the path, or the one in the body."""
    _, found, deployment = path.partition("/openai/deployments/")
    return deployment.split("/")[0] if found else str(required(body, "model", str))


def functions(tools: Any) -> list[dict[str, Any]]:
    """Return the tools that are functions."""
    return [tool for tool in tools or () if tool.get("type") == "function"]


def _forced(choice: Any, tools: dict[str, Any]) -> str | None:
    if isinstance(choice, dict) and choice.get("type") == "function":
        return str(choice["function"]["name"])
    return next(iter(tools), None) if choice == "required" else None


def chat_body(_call: Call, answer: Answer) -> dict[str, Any]:
    """Return the whole answer."""
    choices = [
        {"index": index, "message": _message(answer, text), "logprobs": None, "finish_reason": _FINISH[answer.finish]}
        for index, text in enumerate(answer.texts)
    ]
    return _envelope(answer, "chat.completion") | {"choices": choices} | _usage_part(answer)


def _usage_part(answer: Answer) -> dict[str, Any]:
    shown = answer.shown_usage(usage(answer))
    return {} if shown is None else {"usage": shown}


def _envelope(answer: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": answer.id,
        "object": kind,
        "created": answer.created,
        "model": answer.model,
        "service_tier": answer.tier if answer.tier not in (None, "auto") else "default",
        "system_fingerprint": "fp_simulated",
    }


def _message(answer: Answer, text: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    if answer.tool is not None:
        function = {"name": answer.tool.name, "arguments": text}
        message["content"] = None
        message["tool_calls"] = [{"id": f"call_{answer.number}", "type": "function", "function": function}]
    return message


def chat_events(call: Call, answer: Answer, last: dict[str, Any] | None = None) -> Iterator[Event]:
    """Yield the chunks of an answer. `last`: what the last one says besides, where that is the usage."""
    envelope = _envelope(answer, "chat.completion.chunk")
    if call.usage_asked:
        envelope["usage"] = None
    indexes = range(len(answer.texts))
    for index in indexes:
        yield _delta(envelope, index, _first_delta(answer))
    for pieces in zip(*(split(text, answer.pieces) for text in answer.texts), strict=True):
        for index, piece in enumerate(pieces):
            role_delta = _piece_delta(answer, piece)
            yield _delta(envelope, index, role_delta, role="piece" if index == indexes[-1] else "frame")
    for index in indexes[:-1]:
        yield _delta(envelope, index, {}, _FINISH[answer.finish])
    closing = envelope | (last or {})
    yield _delta(closing, indexes[-1], {}, _FINISH[answer.finish], role="usage" if last else "frame")
    if call.usage_asked and answer.says_usage:
        yield data_event(envelope | {"choices": [], "usage": answer.shown_usage(usage(answer))}, "usage")
    yield DONE


def _first_delta(answer: Answer) -> dict[str, Any]:
    if answer.tool is None:
        return {"role": "assistant", "content": "", "refusal": None}
    function = {"name": answer.tool.name, "arguments": ""}
    call = {"index": 0, "id": f"call_{answer.number}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _piece_delta(answer: Answer, piece: str) -> dict[str, Any]:
    if answer.tool is None:
        return {"content": piece}
    return {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}


def _delta(
    envelope: dict[str, Any],
    index: int,
    delta: dict[str, Any],
    finish: str | None = None,
    *,
    role: Role = "frame",
) -> Event:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return data_event(envelope | {"choices": [choice]}, role)


def _read_completions(path: str, body: dict[str, Any]) -> Call:
    prompt = required(body, "prompt", (str, list))
    prompts = prompt if isinstance(prompt, list) else [prompt]
    if not prompts:
        raise BadRequest("Invalid 'prompt': empty array.")
    if all(isinstance(part, int) for part in prompts):
        prompts = [prompts]
    return Call(
        api="completions",
        prefix="cmpl-",
        model=model_of(path, body),
        body=body,
        stream=bool(body.get("stream")),
        usage_asked=bool((body.get("stream_options") or {}).get("include_usage")),
        cap=positive(body, "max_tokens") or 16,  # the API's own default
        choices=len(prompts) * (positive(body, "n") or 1),
        input_tokens=sum(text_or_ids(part) for part in prompts),
    )


def text_or_ids(part: Any) -> int:
    """Return the tokens of a text, or of a list of token ids."""
    is_ids = isinstance(part, list) and all(isinstance(each, int) for each in part)
    return len(part) if is_ids else max(1, prompt_tokens(part))


def _completions_body(_call: Call, answer: Answer) -> dict[str, Any]:
    choices = [_completion(index, text, _FINISH[answer.finish]) for index, text in enumerate(answer.texts)]
    return _envelope(answer, "text_completion") | {"choices": choices} | _usage_part(answer)


def _completion(index: int, text: str, finish: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}


def _completions_events(call: Call, answer: Answer) -> Iterator[Event]:
    envelope = _envelope(answer, "text_completion")
    last = len(answer.texts) - 1
    for number, pieces in enumerate(zip(*(split(text, answer.pieces) for text in answer.texts), strict=True), 1):
        finish = _FINISH[answer.finish] if number == answer.pieces else None
        for index, piece in enumerate(pieces):
            choice = _completion(index, piece, finish)
            yield data_event(envelope | {"choices": [choice]}, "piece" if index == last else "frame")
    if call.usage_asked and answer.says_usage:
        yield data_event(envelope | {"choices": [], "usage": answer.shown_usage(usage(answer))}, "usage")
    yield DONE


CHAT = Api(read_chat, chat_body, chat_events, failure, BROKEN)
COMPLETIONS = Api(_read_completions, _completions_body, _completions_events, failure, BROKEN)
