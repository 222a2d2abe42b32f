"""Mistral's API: completions, conversations, embeddings, OCR and transcripts."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from budgeted.pricing import token_types
from budgeted.wire import sound_duration
from budgeted.wire.normalized_request import Request
from budgeted.wire.referenced_input import referenced
from budgeted.wire.request_formats.http_request import FILES, Body, Format, HTTPRequest, cannot_ask, unseen_at
from budgeted.wire.request_formats.openai import read_responses
from budgeted.wire.request_formats.parameter_coercion import count, is_structured, items, mapping, times
from budgeted.wire.response_usage import Answer

_CHAT = ("/chat/completions", "/fim/completions", "/agents/completions", "/rawPredict", "/streamRawPredict")
_CONVERSATIONS = re.compile(r".*/conversations(?P<earlier>/(?P<id>[^/]+)(/restart)?)?")
_RESPONSES = "/responses"
_EMBEDDINGS = "/embeddings"
_OCR = "/ocr"
_TRANSCRIPTS = "/audio/transcriptions"
_UNSEEN = {
    "/batch/jobs": "a batch that the provider runs",
    "/audio/speech": "speech",
    "/audio/sessions": "what is said in a live session",
    "/client/sessions": "what is said in a live session",
    "/moderations": "a moderation",
    "/classifications": "a classification",
    "/live-judging": "a judgement",
}
"""By the end of the path: what is billed by units that the request does not tell."""

_SAFE_PROMPT = " " * 512
"""Stands for the system prompt that ``safe_prompt`` adds."""

MOST_PAGES = 1_000
"""The most pages of a document (https://docs.mistral.ai/capabilities/document_ai/basic_ocr)."""

MOST_SOUND_MS = 3 * 3_600_000
"""The longest recording that is transcribed (https://docs.mistral.ai/capabilities/audio_transcription)."""

MOST_REMEMBERED = 10_000
_models: dict[str, str] = {}
"""By a conversation's id, the model that answers in it: later turns do not name it."""


class Mistral(Format):
    """What Mistral answers, or a cloud that serves its models."""

    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed."""
        path, body = http.path, http.body
        reader = next((reader for end, reader in _READERS.items() if path.endswith(end)), None)
        turn = _CONVERSATIONS.fullmatch(path)
        if reader is None and turn is None:
            return unseen_at(http, _UNSEEN)
        request = Request(
            provider=http.provider,
            model=str(body.get("model") or body.get("agent_id") or ""),
            body={**body, "safe_prompt": _SAFE_PROMPT} if body.get("safe_prompt") else body,
            base_url=http.base_url,
            exact_bytes=False,
            elsewhere=referenced(body),
        )
        if turn is not None:
            _read_turn(request, body, turn["id"])
        elif reader is not None:
            reader(request, body)
        if body.get("agent_id"):
            request.elsewhere = "an agent, whose instructions and tools are not in it"
        return request

    def cap_at(self, http: HTTPRequest, request: Request) -> tuple[str, ...]:  # noqa: ARG002 - the formats are alike
        """Where a body has its output cap."""
        if _CONVERSATIONS.fullmatch(http.path):
            return "completion_args", "max_tokens"
        return ("max_output_tokens" if http.path.endswith(_RESPONSES) else "max_tokens",)

    def with_model(self, http: HTTPRequest, model: str) -> HTTPRequest:
        """The same for another model, which an agent, or an earlier turn, does not name."""
        if "model" not in http.body:
            raise cannot_ask(http, model, "an agent, or an earlier turn, decides which model answers")
        return super().with_model(http, model)


def remember(conversation: object, model: str) -> None:
    """Remember which model answers in a conversation.

    Args:
        conversation: its id, if the answer has one.
        model: as genai-prices knows it.
    """
    if isinstance(conversation, str):
        while len(_models) >= MOST_REMEMBERED:
            _models.pop(next(iter(_models)), None)  # None: another thread may have taken it out
        _models[conversation] = model


def _read_chat(request: Request, body: Body) -> None:
    request.cap = count(body.get("max_tokens"))
    request.n = times(body.get("n"))
    request.structured = is_structured(body.get("response_format"))
    sound = sound_duration.most_milliseconds_in(body.get("messages"))
    request.audio_ms = MOST_SOUND_MS if sound is None else sound
    _read_tools(request, body)


def _read_transcript(request: Request, body: Body) -> None:
    """Billed by its length, which only a recording that comes with the request tells."""
    request.operation, request.output, request.cappable = "transcription", False, False
    request.kinds = token_types.AUDIO
    request.elsewhere = "a recording"
    files = items(body.get(FILES))
    request.audio_ms = sound_duration.most_milliseconds(files[0] if files else None) or MOST_SOUND_MS
    request.body = {}


def _read_turn(request: Request, body: Body, earlier: str | None) -> None:
    arguments = mapping(body.get("completion_args"))
    request.cap = count(arguments.get("max_tokens"))
    request.structured = is_structured(arguments.get("response_format"))
    _read_tools(request, body)
    if earlier is None:
        return
    if earlier not in _models:
        request.unseen = "a turn of a conversation that was begun elsewhere, or as a stream,"
    request.elsewhere = "an earlier conversation"
    request.model = _models.get(earlier, earlier)


def _read_tools(request: Request, body: Body) -> None:
    for tool in items(body.get("tools")):
        kind = mapping(tool).get("type", "function")
        if kind != "function":
            request.elsewhere = f"what the server-side tool {kind} brings"


def _read_embeddings(request: Request, body: Body) -> None:  # noqa: ARG001 - the readers are alike
    request.operation, request.output = "embeddings", False


def _read_ocr(request: Request, body: Body) -> None:
    """Billed by the page, and more where annotations are asked for."""
    request.operation, request.output = "ocr", False
    request.body = {}
    pages = _pages(body)
    request.fees = (("page", pages),)
    if body.get("bbox_annotation_format") or body.get("document_annotation_format"):
        request.fees = (("page", pages), ("annotated_page", pages))


def with_annotations(answer: Answer, request: Request) -> Answer:
    """An answer with as many annotated pages as pages, where annotations were asked for and it counts none apart.

    Args:
        answer: as it was read.
        request: what was asked.
    """
    usage = answer.usage
    if usage is None or "annotated_page" not in dict(request.fees) or "annotated_page" in dict(usage.fees):
        return answer
    fees = (*usage.fees, ("annotated_page", dict(usage.fees).get("page", 0)))
    return msgspec.structs.replace(answer, usage=msgspec.structs.replace(usage, fees=fees))


def _pages(body: Body) -> int:
    """The most pages that are read."""
    if mapping(body.get("document")).get("type") == "image_url":
        return 1
    pages = body.get("pages")
    if isinstance(pages, list) and pages:
        return len(pages)
    found = 0
    for part in pages.split(",") if isinstance(pages, str) else ():
        first, _, last = part.strip().partition("-")
        if not (first.isdecimal() and (last or first).isdecimal()):
            return MOST_PAGES
        found += int(last or first) - int(first) + 1
    return found if 0 < found < MOST_PAGES else MOST_PAGES


_READERS: dict[str, Callable[[Request, Body], None]] = {
    **dict.fromkeys(_CHAT, _read_chat),
    _RESPONSES: read_responses,
    _EMBEDDINGS: _read_embeddings,
    _OCR: _read_ocr,
    _TRANSCRIPTS: _read_transcript,
}
