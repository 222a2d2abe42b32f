"""Alibaba Cloud's DashScope on the wire, by its own API: a stream is asked for by a header.

https://help.aliyun.com/en/model-studio/qwen-api-reference and
https://help.aliyun.com/en/model-studio/text-embedding-synchronous-api
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..scripted_reply import Request
from ..server_sent_events import Event, Role
from ..simulated_model import Answer, Call, prompt_tokens, schema_tokens, split
from .api_interface import Api, positive, required
from .openai_embeddings_images_audio import DIMENSIONS

_CODES = {400: "InvalidParameter", 401: "InvalidApiKey", 429: "Throttling.RateQuota"}


def failure(status: int, message: str) -> dict[str, Any]:
    """Return the body of an error."""
    return {"code": _CODES.get(status, "InternalError"), "message": message, "request_id": "simulated"}


def _event(payload: dict[str, Any], role: Role = "frame", name: bytes = b"result", status: int = 200) -> Event:
    head = b"id:1\nevent:%b\n:HTTP_STATUS/%d\n" % (name, status)
    return Event(head + b"data:%b\n\n" % msgspec.json.encode(payload), role)


BROKEN = _event(failure(500, "The model failed."), name=b"error", status=500)


def _read(_path: str, body: dict[str, Any]) -> Call:
    given, parameters = required(body, "input", dict), body.get("parameters") or {}
    messages = given.get("messages") or [required(given, "prompt", str)]
    return Call(
        api="generation",
        model=required(body, "model", str),
        body=body,
        cap=positive(parameters, "max_tokens"),
        choices=positive(parameters, "n") or 1,
        input_tokens=prompt_tokens(messages, messages=len(messages)) + schema_tokens(parameters.get("tools")),
        thinks=bool(parameters.get("enable_thinking")),
    )


def _by_headers(call: Call, request: Request) -> Call:
    call.stream = request.headers.get("x-dashscope-sse") == "enable"
    return call


def _output(call: Call, texts: list[str], finish: str) -> dict[str, Any]:
    """Return the output, as text alone where it is asked for by a prompt and by nothing else."""
    parameters = call.body.get("parameters") or {}
    asked = "text" if "prompt" in call.body["input"] else "message"
    if parameters.get("result_format", asked) == "text":
        return {"text": texts[0], "finish_reason": finish}
    is_list = any(isinstance(each.get("content"), list) for each in call.body["input"].get("messages") or ())
    contents: list[Any] = [[{"text": text}] if is_list else text for text in texts]
    messages = [{"role": "assistant", "content": content} for content in contents]
    return {"choices": [{"finish_reason": finish, "message": message} for message in messages]}


def _usage(answer: Answer, part: float = 1.0) -> dict[str, Any]:
    """Return the usage that an answer has, or a part of it so far."""
    counts = answer.counts
    made = int(counts.output_tokens * part)
    true: dict[str, Any] = {
        "input_tokens": counts.input_tokens,
        "output_tokens": made,
        "total_tokens": counts.input_tokens + made,
    }
    if counts.cached_input_tokens:
        true |= {"prompt_tokens_details": {"cached_tokens": counts.cached_input_tokens}}
    if counts.reasoning_tokens:
        true |= {"output_tokens_details": {"reasoning_tokens": counts.reasoning_tokens}}
    return {"usage": answer.shown_usage(true)} if answer.says_usage else {}


def _finish(answer: Answer) -> str:
    return "length" if answer.finish == "length" else "stop"


def _body(call: Call, answer: Answer) -> dict[str, Any]:
    return {"output": _output(call, answer.texts, _finish(answer))} | _usage(answer) | {"request_id": answer.id}


def _events(call: Call, answer: Answer) -> Iterator[Event]:
    """Yield the parts of an answer, each with all that is written so far unless increments are asked for."""
    is_incremental = bool((call.body.get("parameters") or {}).get("incremental_output"))
    written = [""] * len(answer.texts)
    for number, pieces in enumerate(zip(*(split(text, answer.pieces) for text in answer.texts), strict=True), 1):
        written = [so_far + piece for so_far, piece in zip(written, pieces, strict=True)]
        shown = list(pieces) if is_incremental else written
        told = _usage(answer, number / (answer.pieces + 1))
        yield _event({"output": _output(call, shown, "null")} | told | {"request_id": answer.id}, "piece")
    last = [""] * len(answer.texts) if is_incremental else written
    yield _event({"output": _output(call, last, _finish(answer))} | _usage(answer) | {"request_id": answer.id}, "usage")


def _read_embeddings(_path: str, body: dict[str, Any]) -> Call:
    texts = required(required(body, "input", dict), "texts", list)
    tokens = max(1, prompt_tokens(texts))
    return Call(api="embeddings", model=required(body, "model", str), body=body, input_tokens=tokens, writes=False)


def _embeddings_body(call: Call, answer: Answer) -> dict[str, Any]:
    dimensions = positive(call.body.get("parameters") or {}, "dimension") or DIMENSIONS
    vector = [0.25] * dimensions
    found = [{"text_index": index, "embedding": vector} for index in range(len(call.body["input"]["texts"]))]
    body = {"output": {"embeddings": found}, "request_id": answer.id}
    true = {"total_tokens": answer.counts.input_tokens}
    return body | ({"usage": answer.shown_usage(true)} if answer.says_usage else {})


GENERATION = Api(_read, _body, _events, failure, BROKEN, by_headers=_by_headers)
EMBEDDINGS = Api(_read_embeddings, _embeddings_body, None, failure, BROKEN)
