"""IBM watsonx.ai's chat and text generation on the wire, and the exchange of a key for a token that comes first.

https://cloud.ibm.com/apidocs/watsonx-ai#text-chat, https://cloud.ibm.com/apidocs/watsonx-ai#text-generation and
https://cloud.ibm.com/apidocs/iam-identity-token-api
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from ..server_sent_events import Event, Role
from ..simulated_model import Answer, Call, prompt_tokens, split
from .api_interface import Api, positive, required
from .openai_chat_completions import read_chat
from .openai_embeddings_images_audio import DIMENSIONS

TOKEN_SECONDS = 3600
CHAT_MAX_TOKENS = 1024
GENERATION_MAX_TOKENS = 20

_STOP = {"stop": "eos_token", "tool": "eos_token", "length": "max_tokens"}


def failure(status: int, message: str) -> dict[str, Any]:
    """Return the body of an error."""
    code = {400: "invalid_request_entity", 401: "authentication_token_not_valid", 429: "rate_limit_reached_requests"}
    errors = [{"code": code.get(status, "internal_server_error"), "message": message}]
    return {"errors": errors, "trace": "simulated", "status_code": status}


def _event(payload: dict[str, Any], role: Role = "frame", name: bytes = b"message") -> Event:
    return Event(b"id: 1\nevent: %b\ndata: %b\n\n" % (name, msgspec.json.encode(payload)), role)


BROKEN = _event(failure(500, "The model failed."), name=b"error")


def _envelope(answer: Answer) -> dict[str, Any]:
    made = datetime.fromtimestamp(answer.created, UTC).isoformat().replace("+00:00", "Z")
    return {"model_id": answer.model, "model_version": "1.0.0", "created_at": made}


def _read_chat(path: str, body: dict[str, Any]) -> Call:
    call = read_chat(path, {**body, "model": required(body, "model_id", str)})
    cap = call.cap or CHAT_MAX_TOKENS
    return msgspec.structs.replace(call, body=body, cap=cap, stream=path.partition("?")[0].endswith("_stream"))


def _chat_envelope(answer: Answer) -> dict[str, Any]:
    return {"id": answer.id, "model": answer.model, "created": answer.created} | _envelope(answer)


def _chat_usage(answer: Answer) -> dict[str, Any]:
    sent, made = answer.counts.input_tokens, answer.counts.output_tokens
    true = {"completion_tokens": made, "prompt_tokens": sent, "total_tokens": sent + made}
    return {"usage": answer.shown_usage(true)} if answer.says_usage else {}


def _finish(answer: Answer) -> str:
    return "length" if answer.finish == "length" else "stop"


def _chat_body(_call: Call, answer: Answer) -> dict[str, Any]:
    choices = [
        {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": _finish(answer)}
        for index, text in enumerate(answer.texts)
    ]
    return _chat_envelope(answer) | {"choices": choices} | _chat_usage(answer)


def _chat_events(_call: Call, answer: Answer) -> Iterator[Event]:
    """Yield the chunks of an answer; the usage comes with no choice."""
    envelope = _chat_envelope(answer)
    delta: dict[str, Any] = {"role": "assistant", "content": ""}
    for pieces in zip(*(split(text, answer.pieces) for text in answer.texts), strict=True):
        choices = [
            {"index": index, "delta": delta | {"content": piece}, "finish_reason": None}
            for index, piece in enumerate(pieces)
        ]
        yield _event(envelope | {"choices": choices}, "piece")
    ends = [{"index": index, "delta": delta, "finish_reason": _finish(answer)} for index in range(len(answer.texts))]
    yield _event(envelope | {"choices": ends})
    if answer.says_usage:
        yield _event(envelope | {"choices": []} | _chat_usage(answer), "usage")


def _read_generation(path: str, body: dict[str, Any]) -> Call:
    return Call(
        api="generation",
        model=required(body, "model_id", str),
        body=body,
        stream=path.partition("?")[0].endswith("_stream"),
        cap=positive(body.get("parameters") or {}, "max_new_tokens") or GENERATION_MAX_TOKENS,
        input_tokens=max(1, prompt_tokens(required(body, "input", str))),
    )


def _result(answer: Answer, text: str, sent: int, made: int, stop: str) -> dict[str, Any]:
    true = {"generated_token_count": made, "input_token_count": sent}
    told = answer.shown_usage(true) if answer.says_usage else {}
    return _envelope(answer) | {"results": [{"generated_text": text, **told, "stop_reason": stop}]}


def _generation_body(_call: Call, answer: Answer) -> dict[str, Any]:
    counts = answer.counts
    return _result(answer, answer.texts[0], counts.input_tokens, counts.output_tokens, _STOP[answer.finish])


def _generation_events(_call: Call, answer: Answer) -> Iterator[Event]:
    """Yield the parts of an answer: the first tells the input alone, each the output so far."""
    counts = answer.counts
    yield _event(_result(answer, "", counts.input_tokens, 0, "not_finished"))
    for number, piece in enumerate(split(answer.texts[0], answer.pieces), 1):
        made = counts.output_tokens * number // (answer.pieces + 1)
        yield _event(_result(answer, piece, 0, made, "not_finished"), "piece")
    yield _event(_result(answer, "", 0, counts.output_tokens, _STOP[answer.finish]), "usage")


def _read_embeddings(_path: str, body: dict[str, Any]) -> Call:
    tokens = max(1, prompt_tokens(required(body, "inputs", list)))
    return Call(api="embeddings", model=required(body, "model_id", str), body=body, input_tokens=tokens, writes=False)


def _embeddings_body(call: Call, answer: Answer) -> dict[str, Any]:
    results = [{"embedding": [0.25] * DIMENSIONS, "input": text} for text in call.body["inputs"]]
    true = {"input_token_count": answer.counts.input_tokens}
    return _envelope(answer) | {"results": results} | (answer.shown_usage(true) if answer.says_usage else {})


def token(_path: str, _body: dict[str, Any]) -> dict[str, Any]:
    """Return what a key is exchanged for, which is free: a token that says when it expires."""
    now = int(time.time())
    claims = {"iam_id": "IBMid-simulated", "account": {"bss": "simulated"}, "iat": now, "exp": now + TOKEN_SECONDS}
    parts = ({"alg": "none"}, claims)
    text = ".".join(base64.urlsafe_b64encode(msgspec.json.encode(part)).decode().rstrip("=") for part in parts)
    return {
        "access_token": f"{text}.simulated",
        "refresh_token": "not_supported",
        "token_type": "Bearer",
        "expires_in": TOKEN_SECONDS,
        "expiration": now + TOKEN_SECONDS,
        "scope": "ibm openid",
    }


CHAT = Api(_read_chat, _chat_body, _chat_events, failure, BROKEN)
GENERATION = Api(_read_generation, _generation_body, _generation_events, failure, BROKEN)
EMBEDDINGS = Api(_read_embeddings, _embeddings_body, None, failure, BROKEN)
