"""Mistral's APIs on the wire: OpenAI's, whose streams say their usage in the last chunk that has a choice.

https://docs.mistral.ai/api/endpoint/chat, https://docs.mistral.ai/api/endpoint/fim,
https://docs.mistral.ai/api/endpoint/beta/conversations and https://docs.mistral.ai/api/endpoint/ocr
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..server_sent_events import Event, data_event, named_event
from ..simulated_model import Answer, Call, prompt_tokens, schema_tokens, split
from .api_interface import Api, positive, required
from .openai_chat_completions import chat_body, chat_events, read_chat
from .openai_embeddings_images_audio import EMBEDDINGS as _EMBEDDINGS


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


def _read_raw(path: str, body: dict[str, Any]) -> Call:
    """Read a request to Google Cloud, whose path does not tell what it is for."""
    return _read_fim(path, body) if "prompt" in body else _read_chat(path, body)


def _read_conversation(path: str, body: dict[str, Any]) -> Call:
    given = required(body, "inputs", (str, list))
    return Call(
        api="conversations",
        prefix="conv_",
        model=body.get("model") or path.partition("/conversations/")[2].partition("/")[0].partition("-")[2],
        body=body,
        stream=bool(body.get("stream")),
        cap=positive(body.get("completion_args") or {}, "max_tokens"),
        input_tokens=max(1, prompt_tokens(given, body.get("instructions") or "", messages=1))
        + schema_tokens(body.get("tools")),
    )


def _conversation(answer: Answer) -> str:
    """Return the id of a conversation, by which its model is known."""
    return f"{answer.id}-{answer.model}"


def _conversation_body(_call: Call, answer: Answer) -> dict[str, Any]:
    message = {"type": "message.output", "role": "assistant", "content": answer.texts[0], "model": answer.model}
    body = {"object": "conversation.response", "conversation_id": _conversation(answer), "outputs": [message]}
    return body | ({"usage": answer.shown_usage(_usage(answer))} if answer.says_usage else {})


def _conversation_events(_call: Call, answer: Answer) -> Iterator[Event]:
    yield named_event({"type": "conversation.response.started", "conversation_id": _conversation(answer)})
    where = {"id": answer.id, "output_index": 0, "content_index": 0, "model": answer.model, "role": "assistant"}
    for piece in split(answer.texts[0], answer.pieces):
        yield named_event({"type": "message.output.delta", "content": piece, **where}, "piece")
    if answer.says_usage:
        yield named_event({"type": "conversation.response.done", "usage": answer.shown_usage(_usage(answer))}, "usage")


def _read_ocr(_path: str, body: dict[str, Any]) -> Call:
    required(body, "document", dict)
    annotated = body.get("bbox_annotation_format") or body.get("document_annotation_format")
    return Call(
        api="ocr",
        model=required(body, "model", str),
        body=body,
        writes=False,
        by_unit=True,
        tier="annotated" if annotated else None,
    )


def _ocr_body(_call: Call, answer: Answer) -> dict[str, Any]:
    count = answer.counts.units
    pages: list[Any] = [
        {"index": index, "markdown": "Budgets.", "images": [], "dimensions": None} for index in range(count)
    ]
    body = {"pages": pages, "model": answer.model}
    true = {"pages_processed": count, "doc_size_bytes": 1}
    return body | ({"usage_info": answer.shown_usage(true)} if answer.says_usage else {})


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
RAW = Api(_read_raw, _body, _events, failure, BROKEN)
CONVERSATIONS = Api(_read_conversation, _conversation_body, _conversation_events, failure, BROKEN)
OCR = Api(_read_ocr, _ocr_body, None, failure, BROKEN)
EMBEDDINGS = Api(_EMBEDDINGS.read, _embeddings_body, None, failure, BROKEN)
