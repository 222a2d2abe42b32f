"""Google's Gemini API on the wire, and Vertex AI's, which is the same under longer paths.

https://ai.google.dev/api/generate-content, https://ai.google.dev/api/embeddings and https://ai.google.dev/api/tokens
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..server_sent_events import DONE, Event, Role, data_event
from ..simulated_model import Answer, Call, prompt_tokens, schema_tokens, split
from .api_interface import Api, BadRequest, positive, required
from .openai_embeddings_images_audio import DIMENSIONS, PICTURE

_STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}


PICTURE_TOKENS = 1290


def failure(status: int, message: str) -> dict[str, Any]:
    """Return the body of an error."""
    return {"error": {"code": status, "message": message, "status": _STATUS.get(status, "UNAVAILABLE")}}


_OVERLOADED = failure(503, "The model is overloaded. Please try again later.")
BROKEN = data_event(_OVERLOADED)
BROKEN_ITEM = Event(b",\r\n%b]" % msgspec.json.encode(_OVERLOADED))


def _model(path: str) -> str:
    """Return the model in `/v1beta/models/gemini-2.5-flash:generateContent`."""
    return path.partition("?")[0].rpartition("/")[2].rpartition(":")[0]


def _usage(answer: Answer, *, part: float = 1.0) -> dict[str, Any]:
    """Return the usage that an answer has, or a part of it so far; thoughts are not among the candidates' tokens."""
    counts = answer.counts
    visible = int((counts.output_tokens - counts.reasoning_tokens) * part)
    usage = {
        "promptTokenCount": counts.input_tokens,
        "candidatesTokenCount": visible,
        "totalTokenCount": counts.input_tokens + visible + counts.reasoning_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": counts.input_tokens}],
    }
    if _draws(answer.model):
        usage["candidatesTokensDetails"] = [{"modality": "IMAGE", "tokenCount": visible}]
    if counts.reasoning_tokens:
        usage["thoughtsTokenCount"] = counts.reasoning_tokens
    if counts.cached_input_tokens:
        usage["cachedContentTokenCount"] = counts.cached_input_tokens
        usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": counts.cached_input_tokens}]
    return usage


def _read(path: str, body: dict[str, Any]) -> Call:
    contents = required(body, "contents", list)
    config = body.get("generationConfig") or {}
    declared = [each for tool in body.get("tools") or () for each in tool.get("functionDeclarations") or ()]
    tools = {each["name"]: each.get("parametersJsonSchema") or each.get("parameters") for each in declared}
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    is_json = config.get("responseMimeType") == "application/json"
    thinking = config.get("thinkingConfig") or {}
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    return Call(
        api="gemini",
        model=_model(path),
        body=body,
        stream=":streamGenerateContent" in path,
        cap=positive(config, "maxOutputTokens"),
        choices=positive(config, "candidateCount") or 1,
        length=PICTURE_TOKENS if _draws(_model(path)) else None,
        draws=_draws(_model(path)),
        input_tokens=prompt_tokens(contents, body.get("systemInstruction") or "", messages=len(contents))
        + schema_tokens(body.get("tools"))
        + schema_tokens(schema),
        schema=_lower(schema or {"type": "object"}) if is_json else None,
        tools={name: _lower(parameters or {"type": "object"}) for name, parameters in tools.items()},
        forced=next(iter(tools), None) if calling.get("mode") == "ANY" else None,
        thinks=bool(thinking.get("thinkingBudget") or thinking.get("thinking_budget")),
    )


def _lower(schema: Any) -> Any:
    """Return a schema with JSON Schema's names for types: Google's own spells them in capitals."""
    if isinstance(schema, dict):
        return {
            key: value.lower() if key == "type" and isinstance(value, str) else _lower(value)
            for key, value in schema.items()
        }
    return [_lower(each) for each in schema] if isinstance(schema, list) else schema


def _parts(answer: Answer, text: str) -> list[dict[str, Any]]:
    if _draws(answer.model):
        return [{"inlineData": {"mimeType": "image/png", "data": PICTURE}}] if text else []
    if answer.tool is not None:
        return [{"functionCall": {"name": answer.tool.name, "args": msgspec.json.decode(text)}}] if text else []
    return [{"text": text}]


def _content(answer: Answer, texts: list[str], finish: str | None) -> dict[str, Any]:
    candidates = []
    for index, text in enumerate(texts):
        candidate: dict[str, Any] = {"index": index, "content": {"role": "model", "parts": _parts(answer, text)}}
        candidates.append(candidate if finish is None else candidate | {"finishReason": finish} | _grounding(answer))
    return {"candidates": candidates, "modelVersion": answer.model, "responseId": answer.number}


def _grounding(answer: Answer) -> dict[str, Any]:
    queries = [f"budgets {number}" for number in range(answer.counts.searches)]
    return {"groundingMetadata": {"webSearchQueries": queries}} if queries else {}


def _draws(model: str) -> bool:
    return model.endswith("-image")


def _finish(answer: Answer) -> str:
    return "MAX_TOKENS" if answer.finish == "length" else "STOP"


def _usage_part(answer: Answer, part: float = 1.0) -> dict[str, Any]:
    return {"usageMetadata": answer.shown_usage(_usage(answer, part=part))} if answer.says_usage else {}


def _body(_call: Call, answer: Answer) -> dict[str, Any]:
    return _content(answer, answer.texts, _finish(answer)) | _usage_part(answer)


def _events(_call: Call, answer: Answer) -> Iterator[Event]:
    """Yield the parts of an answer as events."""
    for part, role in _answer_parts(answer):
        yield data_event(part, role)


def _answer_parts(answer: Answer) -> Iterator[tuple[dict[str, Any], Role]]:
    """Yield the parts of an answer, each with the usage so far."""
    if answer.tool is not None:
        yield _content(answer, answer.texts, None) | _usage_part(answer), "piece"
    else:
        pieces = zip(*(split(text, answer.pieces) for text in answer.texts), strict=True)
        for number, texts in enumerate(pieces, 1):
            part = number / (answer.pieces + 1)
            yield _content(answer, list(texts), None) | _usage_part(answer, part), "piece"
    yield _content(answer, [""] * len(answer.texts), _finish(answer)) | _usage_part(answer), "usage"


def _list_items(_call: Call, answer: Answer) -> Iterator[Event]:
    """Yield the parts of an answer as the items of a list, which is how they come if no events are asked for."""
    before = b"["
    for part, role in _answer_parts(answer):
        yield Event(before + msgspec.json.encode(part), role)
        before = b",\r\n"
    yield Event(b"]")


# -- interactions, which are the same models by another API


def _read_interaction(_path: str, body: dict[str, Any]) -> Call:
    given = required(body, "input", (str, list))
    return Call(
        api="interactions",
        model=required(body, "model", str),
        body=body,
        stream=bool(body.get("stream")),
        cap=positive(body.get("generation_config") or {}, "max_output_tokens"),
        input_tokens=prompt_tokens(given, body.get("system_instruction") or "", messages=1)
        + schema_tokens(body.get("tools")),
    )


def _interaction(answer: Answer, status: str) -> dict[str, Any]:
    return {"id": answer.number, "object": "interaction", "model": answer.model, "status": status}


def _interaction_usage(answer: Answer) -> dict[str, Any]:
    counts = answer.counts
    usage = {
        "total_input_tokens": counts.input_tokens,
        "total_output_tokens": counts.output_tokens - counts.reasoning_tokens,
        "total_thought_tokens": counts.reasoning_tokens,
        "total_cached_tokens": counts.cached_input_tokens,
        "total_tokens": counts.input_tokens + counts.output_tokens,
        "input_tokens_by_modality": [{"modality": "text", "tokens": counts.input_tokens}],
    }
    grounded = [{"type": "google_search", "count": counts.searches}]
    return {"usage": answer.shown_usage(usage | ({"grounding_tool_count": grounded} if counts.searches else {}))}


def _interaction_body(_call: Call, answer: Answer) -> dict[str, Any]:
    steps = [{"type": "model_output", "content": [{"type": "text", "text": answer.texts[0]}]}]
    body = _interaction(answer, "completed") | {"steps": steps}
    return body | (_interaction_usage(answer) if answer.says_usage else {})


def _interaction_events(_call: Call, answer: Answer) -> Iterator[Event]:
    yield data_event({"event_type": "interaction.created", "interaction": _interaction(answer, "in_progress")})
    yield data_event({"event_type": "step.start", "index": 0, "step": {"type": "model_output"}})
    for piece in split(answer.texts[0], answer.pieces):
        yield data_event({"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": piece}}, "piece")
    yield data_event({"event_type": "step.stop", "index": 0})
    body = _interaction(answer, "completed") | (_interaction_usage(answer) if answer.says_usage else {})
    yield data_event({"event_type": "interaction.completed", "interaction": body}, "usage")
    yield DONE


def _read_decision(path: str, body: dict[str, Any]) -> Call:
    return msgspec.structs.replace(_read_interaction(path, body), api="decisions")


def _decision_body(_call: Call, answer: Answer) -> dict[str, Any]:
    return {"answers": {}} | (_interaction_usage(answer) if answer.says_usage else {})


def _read_embeddings(path: str, body: dict[str, Any]) -> Call:
    return Call(
        api="gemini.embeddings",
        model=_model(path),
        body=body,
        input_tokens=max(1, prompt_tokens(_embedded(body))),
        writes=False,
    )


def _embedded(body: dict[str, Any]) -> list[Any]:
    """Return what is to be embedded: of a batch, of a single request, of a prediction on Vertex AI."""
    if "content" in body:
        return [body["content"]]
    given = body.get("requests") or body.get("instances")
    if not given:
        raise BadRequest("No content is given.")
    return [each["content"] for each in given]


def _read_prediction(path: str, body: dict[str, Any]) -> Call:
    """Read a prediction: of embeddings, or of pictures."""
    if all("content" in each for each in required(body, "instances", list)):
        return _read_embeddings(path, body)
    wanted = positive(body.get("parameters") or {}, "sampleCount") or 4
    return Call(api="images", model=_model(path), body=body, choices=wanted, length=0)


def _prediction_body(call: Call, answer: Answer) -> dict[str, Any]:
    if call.api != "images":
        return _embeddings_body(call, answer)
    return {"predictions": [{"mimeType": "image/png", "bytesBase64Encoded": PICTURE} for _ in answer.texts]}


def _embeddings_body(call: Call, answer: Answer) -> dict[str, Any]:
    tokens = answer.counts.input_tokens
    vector = [0.25] * DIMENSIONS
    if "instances" in call.body:
        statistics = {"statistics": {"token_count": tokens, "truncated": False}}
        predictions = [{"embeddings": {"values": vector, **statistics}} for _ in call.body["instances"][:1]]
        more = [
            {"embeddings": {"values": vector, "statistics": {"token_count": 0}}} for _ in call.body["instances"][1:]
        ]
        return {"predictions": [*predictions, *more]}
    found = [{"values": vector} for _ in _embedded(call.body)]
    body: dict[str, Any] = {"embedding": found[0]} if "content" in call.body else {"embeddings": found}
    true = {"promptTokenCount": tokens, "totalTokenCount": tokens}
    return body | {"usageMetadata": answer.shown_usage(true)} if answer.says_usage else body


def count_tokens(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of the free API that counts tokens."""
    return {"totalTokens": _read(path, body).input_tokens}


PREDICTIONS = Api(_read_prediction, _prediction_body, None, failure, BROKEN)
CONTENT = Api(_read, _body, _events, failure, BROKEN)
CONTENT_AS_LIST = Api(_read, _body, _list_items, failure, BROKEN_ITEM, stream_media_type="application/json")
INTERACTIONS = Api(_read_interaction, _interaction_body, _interaction_events, failure, BROKEN)
DECISIONS = Api(_read_decision, _decision_body, None, failure, BROKEN)
EMBEDDINGS = Api(_read_embeddings, _embeddings_body, None, failure, BROKEN)
