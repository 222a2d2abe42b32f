"""Amazon Bedrock's runtime on the wire: Converse and InvokeModel, and the event streams of both.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html and, for the framing,
https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import msgspec

from ..server_sent_events import Event, Role
from ..simulated_model import Answer, Call, prompt_tokens, schema_tokens, split
from .anthropic import MESSAGES
from .api_interface import Api, BadRequest, positive, required

STREAM = "application/vnd.amazon.eventstream"
_STRING = 7
_STOP = {"stop": "end_turn", "length": "max_tokens", "tool": "tool_use"}


def failure(status: int, message: str) -> dict[str, Any]:
    """Return the body of an error."""
    kinds = {400: "ValidationException", 404: "ResourceNotFoundException", 429: "ThrottlingException"}
    return {"__type": kinds.get(status, "InternalServerException"), "message": message}


def frame(payload: dict[str, Any], role: Role = "frame", **headers: str) -> Event:
    """Return one frame of an event stream; a header's name has its underscores for hyphens."""
    encoded = b"".join(_header(f":{name.replace('_', '-')}", value) for name, value in headers.items())
    body = msgspec.json.encode(payload)
    prelude = struct.pack(">II", 16 + len(encoded) + len(body), len(encoded))
    rest = struct.pack(">I", zlib.crc32(prelude)) + encoded + body
    return Event(prelude + rest + struct.pack(">I", zlib.crc32(prelude + rest)), role)


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return struct.pack(">B", len(key)) + key + struct.pack(">BH", _STRING, len(text)) + text


def event(kind: str, payload: dict[str, Any], role: Role = "frame") -> Event:
    """Return a frame that carries an event."""
    return frame(payload, role, event_type=kind, content_type="application/json", message_type="event")


BROKEN = frame(
    {"message": "The server had an error."},
    exception_type="internalServerException",
    content_type="application/json",
    message_type="exception",
)


def _model_of(path: str) -> str:
    return unquote(path.partition("/model/")[2].partition("/")[0])


# -- Converse


def usage(answer: Answer) -> dict[str, Any]:
    """Return the usage that an answer really has; what was cached is not part of `inputTokens` here."""
    counts = answer.counts
    kept = {
        "5m": counts.cache_write_tokens - counts.cache_write_1h_tokens,
        "1h": counts.cache_write_1h_tokens,
    }
    return {
        "inputTokens": counts.input_tokens - counts.cached_input_tokens - counts.cache_write_tokens,
        "outputTokens": counts.output_tokens,
        "totalTokens": counts.input_tokens + counts.output_tokens,
        "cacheReadInputTokens": counts.cached_input_tokens,
        "cacheWriteInputTokens": counts.cache_write_tokens,
        "cacheDetails": [{"ttl": ttl, "inputTokens": tokens} for ttl, tokens in kept.items() if tokens],
    }


def _read_converse(path: str, body: dict[str, Any]) -> Call:
    messages = required(body, "messages", list)
    config = body.get("toolConfig") or {}
    specs = [tool["toolSpec"] for tool in config.get("tools") or () if "toolSpec" in tool]
    tools = {spec["name"]: (spec.get("inputSchema") or {}).get("json") for spec in specs}
    choice = config.get("toolChoice") or {}
    return Call(
        api="converse",
        model=_model_of(path),
        body=body,
        stream=path.endswith("-stream"),
        cap=positive(body.get("inferenceConfig") or {}, "maxTokens"),
        input_tokens=prompt_tokens(messages, body.get("system") or "", messages=len(messages), tools=len(tools))
        + schema_tokens(config),
        tools=tools,
        forced=(choice.get("tool") or {}).get("name") or (next(iter(tools), None) if "any" in choice else None),
        tier=(body.get("serviceTier") or {}).get("type"),
    )


def _tier(answer: Answer) -> dict[str, Any]:
    return {} if answer.tier is None else {"serviceTier": {"type": answer.tier}}


def _converse_body(_call: Call, answer: Answer) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"text": answer.texts[0]}]
    if answer.tool is not None:
        arguments = msgspec.json.decode(answer.tool.arguments)
        content = [{"toolUse": {"toolUseId": f"tooluse_{answer.number}", "name": answer.tool.name, "input": arguments}}]
    body = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": _STOP[answer.finish],
        "metrics": {"latencyMs": 1},
    } | _tier(answer)
    shown = answer.shown_usage(usage(answer))
    return body if shown is None else body | {"usage": shown}


def _converse_events(_call: Call, answer: Answer) -> Iterator[Event]:
    yield event("messageStart", {"role": "assistant", "p": "ab"})
    if answer.tool is not None:
        start = {"toolUse": {"toolUseId": f"tooluse_{answer.number}", "name": answer.tool.name}}
        yield event("contentBlockStart", {"contentBlockIndex": 0, "start": start, "p": "abc"})
    for piece in split(answer.texts[0], answer.pieces):
        delta = {"text": piece} if answer.tool is None else {"toolUse": {"input": piece}}
        yield event("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta, "p": "abcdef"}, "piece")
    yield event("contentBlockStop", {"contentBlockIndex": 0, "p": "a"})
    yield event("messageStop", {"stopReason": _STOP[answer.finish], "p": "abcd"})
    if answer.says_usage:
        shown = {"usage": answer.shown_usage(usage(answer)), "metrics": {"latencyMs": 1}, "p": "abcde"} | _tier(answer)
        yield event("metadata", shown, "usage")


# -- reranking


def _read_rerank(_path: str, body: dict[str, Any]) -> Call:
    required(body, "queries", list)
    configuration = body["rerankingConfiguration"]["bedrockRerankingConfiguration"]
    model = configuration["modelConfiguration"]["modelArn"].rpartition("/")[2]
    return Call(api="rerank", model=model, body=body, writes=False, by_unit=True)


def _rerank_body(call: Call, _answer: Answer) -> dict[str, Any]:
    return {"results": [{"index": index, "relevanceScore": 0.5} for index in range(len(call.body["sources"]))]}


RERANK = Api(_read_rerank, _rerank_body, None, failure, BROKEN, tells_usage=False)


# -- InvokeModel: the body is the model's own


def _read_invoke(path: str, body: dict[str, Any]) -> Call:
    model = _model_of(path)
    stream = path.endswith("-stream")
    if "anthropic." in model:
        call = MESSAGES.read(path, body | {"model": model})
        return msgspec.structs.replace(call, api="invoke", body=body, stream=stream)
    embeds = "embed" in model
    name = "inputText" if embeds else "prompt"
    return Call(
        api="invoke",
        model=model,
        body=body,
        stream=stream,
        cap=positive(body, "max_gen_len"),
        input_tokens=max(1, prompt_tokens(required(body, name, str))),
        writes=not embeds,
    )


def _invoke_body(call: Call, answer: Answer) -> dict[str, Any]:
    if "anthropic." in call.model:
        body = MESSAGES.body(call, answer)
        if not isinstance(body, dict):  # pragma: no cover
            raise BadRequest("no message")
        return body | {"model": _own_name(answer.model)}
    if not call.writes:
        return {"embedding": [0.25] * 8, "inputTextTokenCount": answer.counts.input_tokens}
    return {
        "generation": answer.texts[0],
        "prompt_token_count": answer.counts.input_tokens,
        "generation_token_count": answer.counts.output_tokens,
        "stop_reason": answer.finish,
    }


def _own_name(model: str) -> str:
    """What a model calls itself, without what Bedrock has around its name."""
    return model.partition("anthropic.")[2].partition("-v1:")[0]


def _invoke_headers(answer: Answer) -> dict[str, str]:
    if not answer.says_usage:
        return {}
    counts = answer.counts
    told = {
        "input": counts.input_tokens - counts.cached_input_tokens - counts.cache_write_tokens,
        "output": counts.output_tokens,
        "cache-read-input": counts.cached_input_tokens,
        "cache-write-input": counts.cache_write_tokens,
    }
    return {f"x-amzn-bedrock-{kind}-token-count": str(tokens) for kind, tokens in told.items()}


def _invoke_events(call: Call, answer: Answer) -> Iterator[Event]:
    if "anthropic." in call.model:
        events = list(MESSAGES.events(call, answer) if MESSAGES.events else ())
        payloads = [(msgspec.json.decode(one.data.partition(b"data: ")[2]), one.role) for one in events]
    else:
        pieces = list(split(answer.texts[0], answer.pieces))
        payloads = [({"generation": piece, "stop_reason": None}, "piece") for piece in pieces]
        payloads.append(({"generation": "", "stop_reason": answer.finish}, "frame"))
    for payload, role in payloads[:-1]:
        yield _chunk(payload, role)
    last = payloads[-1][0]
    if answer.says_usage:
        last = last | {"amazon-bedrock-invocationMetrics": answer.shown_usage(_metrics(answer))}
    yield _chunk(last, "usage" if answer.says_usage else "frame")


def _metrics(answer: Answer) -> dict[str, int]:
    counts = answer.counts
    return {
        "inputTokenCount": counts.input_tokens - counts.cached_input_tokens - counts.cache_write_tokens,
        "outputTokenCount": counts.output_tokens,
        "cacheReadInputTokenCount": counts.cached_input_tokens,
        "cacheWriteInputTokenCount": counts.cache_write_tokens,
        "invocationLatency": 2,
        "firstByteLatency": 1,
    }


def _chunk(payload: dict[str, Any], role: Role) -> Event:
    return event("chunk", {"bytes": base64.b64encode(msgspec.json.encode(payload)).decode(), "p": "abcdefgh"}, role)


CONVERSE = Api(_read_converse, _converse_body, _converse_events, failure, BROKEN, stream_media_type=STREAM)
INVOKE = Api(
    _read_invoke, _invoke_body, _invoke_events, failure, BROKEN, stream_media_type=STREAM, headers=_invoke_headers
)
