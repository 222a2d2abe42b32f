"""Mistral's APIs on the wire: OpenAI's, whose streams say their usage in the last chunk that has a choice.

https://docs.mistral.ai/api/endpoint/chat and https://docs.mistral.ai/api/endpoint/fim
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from .api import Api, required
from .chat_wire import chat_body, chat_events, read_chat
from .model import Answer, Call, prompt_tokens
from .other_wire import EMBEDDINGS as _EMBEDDINGS
from .sse import Event, data_event


def failure(status: int, message: str) -> dict[str, Any]:
    """Return the body of an error."""
    return {"object": "error", "message": message, "type": "error", "param": None, "code": str(status)}


BROKEN = data_event(failure(500, "Service unavailable."))


def _usage(answer: Answer) -> dict[str, Any]:
    counts = answer.counts
    return {
        "prompt_tokens": counts.input_tokens,
        "completion_tokens": counts.output_tokens,
        "total_tokens": counts.input_tokens + counts.output_tokens,
        "prompt_tokens_details": {"cached_tokens": counts.cached_input_tokens},
    }


def _read_chat(path: str, body: dict[str, Any]) -> Call:
    return msgspec.structs.replace(read_chat(path, body), usage_asked=False)


def _read_agents(path: str, body: dict[str, Any]) -> Call:
    call = _read_chat(path, {**body, "model": required(body, "agent_id", str)})
    return msgspec.structs.replace(call, api="agents", body=body)


def _read_fim(path: str, body: dict[str, Any]) -> Call:
    prompt = required(body, "prompt", str)
    call = _read_chat(path, {**body, "messages": []})
    tokens = prompt_tokens(prompt, body.get("suffix") or "")
    return msgspec.structs.replace(call, api="fim", input_tokens=max(1, tokens), body=body)


def _body(call: Call, answer: Answer) -> dict[str, Any]:
    body = chat_body(call, answer)
    return body if "usage" not in body else body | {"usage": answer.shown_usage(_usage(answer))}


def _events(call: Call, answer: Answer) -> Iterator[Event]:
    said = {"usage": answer.shown_usage(_usage(answer))} if answer.says_usage else {}
    return chat_events(call, answer, said)


def _embeddings_body(call: Call, answer: Answer) -> Any:
    body = _EMBEDDINGS.body(call, answer)
    return {**body, "id": answer.number} if isinstance(body, dict) else body


CHAT = Api(_read_chat, _body, _events, failure, BROKEN)
AGENTS = Api(_read_agents, _body, _events, failure, BROKEN)
FIM = Api(_read_fim, _body, _events, failure, BROKEN)
EMBEDDINGS = Api(_EMBEDDINGS.read, _embeddings_body, None, failure, BROKEN)
