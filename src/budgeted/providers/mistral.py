"""The Mistral SDK, with its clients for Azure and Google Cloud: completions, conversations, embeddings and OCR."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from budgeted.metering.call import Call
from budgeted.pricing import token_types
from budgeted.providers.metered_method import End
from budgeted.providers.monkeypatching import Hook
from budgeted.providers.openai import read_responses
from budgeted.providers.parameter_coercion import count, is_structured, items, mapping
from budgeted.providers.speakeasy_generated_sdks import Dialect, decoded, hooks
from budgeted.providers.unmeterable_requests import refuse_connection, refuse_unseen, refuse_unseen_at
from budgeted.wire import response_usage, sound_duration
from budgeted.wire.normalized_request import Request
from budgeted.wire.referenced_input import referenced
from budgeted.wire.response_usage import Answer

_CHAT = ("/chat/completions", "/fim/completions", "/agents/completions", "/rawPredict", "/streamRawPredict")
_CONVERSATIONS = re.compile(r".*/conversations(?P<earlier>/(?P<id>[^/]+)(/restart)?)?")
_RESPONSES = "/responses"
_EMBEDDINGS = "/embeddings"
_OCR = "/ocr"
_TRANSCRIPTS = "/audio/transcriptions"
_FORM_MODEL = re.compile(rb'name="model"(?:\r\n[^\r\n]+)*\r\n\r\n([^\r\n]*)\r\n')
_FORM_FILE = re.compile(rb'name="file"(?:[^\r\n]*)(?:\r\n[^\r\n]+)*\r\n\r\n')
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

_PROVIDERS = {"mistralai.azure.client": "azure", "mistralai.gcp.client": "google"}
_SAFE_PROMPT = " " * 512
"""Stands for the system prompt that ``safe_prompt`` adds."""

MOST_PAGES = 1_000
"""The most pages of a document (https://docs.mistral.ai/capabilities/document_ai/basic_ocr)."""

MOST_SOUND_MS = 3 * 3_600_000
"""The longest recording that is transcribed (https://docs.mistral.ai/capabilities/audio_transcription)."""

MOST_REMEMBERED = 10_000
_models: dict[str, str] = {}
"""By a conversation's id, the model that answers in it: later turns do not name it."""


class _Mistral(Dialect):
    def __init__(self, provider: str) -> None:
        self.provider = provider

    def read(self, path: str, http: Any) -> tuple[Request, dict[str, Any]] | None:
        """The request as a call to meter, and its JSON; None if it is not billed."""
        refuse_unseen_at(path, _UNSEEN)
        reader = next((reader for end, reader in _READERS.items() if path.endswith(end)), None)
        turn = _CONVERSATIONS.fullmatch(path)
        if turn is not None and turn["id"] is not None and turn["id"] not in _models:
            refuse_unseen("a turn of a conversation that was begun elsewhere, or as a stream,")
            return None
        if reader is None and turn is None:
            return None
        body = _form(http) if path.endswith(_TRANSCRIPTS) else decoded(http)
        if body is None:
            return None
        request = Request(
            provider=self.provider,
            model=str(body.get("model") or body.get("agent_id") or ""),
            body={**body, "safe_prompt": _SAFE_PROMPT} if body.get("safe_prompt") else body,
            base_url=str(http.url.copy_with(raw_path=b"/")),
            exact_bytes=False,
            elsewhere=referenced(body),
        )
        if turn is not None:
            _read_turn(request, body, turn["id"])
        elif reader is not None:
            reader(request, body)
        if body.get("agent_id"):
            request.elsewhere = "an agent, whose instructions and tools are not in it"
        return request, body

    def alter(self, path: str, body: dict[str, Any], call: Call) -> dict[str, Any]:
        """A copy of the JSON with the model and cap that were granted."""
        altered = {**body, "model": call.request.model} if "model" in body else {**body}
        if not call.capped:
            return altered
        if _CONVERSATIONS.fullmatch(path):
            altered["completion_args"] = {**mapping(body.get("completion_args")), "max_tokens": call.granted}
        else:
            altered["max_output_tokens" if path.endswith(_RESPONSES) else "max_tokens"] = call.granted
        return altered

    def encoded(self, http: Any, body: dict[str, Any]) -> bytes:
        """What is sent: JSON, or a form whose model is replaced."""
        content: bytes = http.read()
        form = _FORM_MODEL.search(content)
        if form is None or content.lstrip()[:1] == b"{":
            return super().encoded(http, body)
        return content[: form.start(1)] + str(body["model"]).encode() + content[form.end(1) :]

    def finish(self, call: Call, response: Any) -> End | None:
        """How the call ends with its HTTP response; None for one that ends it when it has been read."""
        end = super().finish(call, response)
        if end is None or response.status_code >= 400:
            return end
        if call.request.operation == "ocr":
            return functools.partial(call.settle, _with_annotations(response_usage.read(response), call.request))
        if b'"conversation_id"' in response.content:
            _remember((decoded(response) or {}).get("conversation_id"), call.request.model)
        return end


def _remember(conversation: Any, model: str) -> None:
    if isinstance(conversation, str):
        while len(_models) >= MOST_REMEMBERED:
            _models.pop(next(iter(_models)), None)  # None: another thread may have taken it out
        _models[conversation] = model


def _read_chat(request: Request, body: Mapping[str, Any]) -> None:
    request.cap = count(body.get("max_tokens"))
    request.n = count(body.get("n")) or 1
    request.structured = is_structured(body.get("response_format"))
    sound = sound_duration.most_milliseconds_in(body.get("messages"))
    request.audio_ms = MOST_SOUND_MS if sound is None else sound
    _read_tools(request, body)


def _read_transcript(request: Request, body: Mapping[str, Any]) -> None:
    """Billed by its length, which only a recording that comes with the request tells."""
    request.operation, request.output, request.cappable = "transcription", False, False
    request.kinds = token_types.AUDIO
    request.elsewhere = "a recording"
    request.audio_ms = sound_duration.most_milliseconds(body.get("file")) or MOST_SOUND_MS
    request.body = {}


def _form(http: Any) -> dict[str, Any]:
    """What a form says of the model and the recording that it brings."""
    content: bytes = http.read()
    model, file = _FORM_MODEL.search(content), _FORM_FILE.search(content)
    if model is None:
        return decoded(http) or dict(parse_qsl(content.decode("utf-8", "replace")))
    found: dict[str, Any] = {"model": model[1].decode("utf-8", "replace")}
    return found if file is None else {**found, "file": content[file.end() :]}


def _read_turn(request: Request, body: Mapping[str, Any], earlier: str | None) -> None:
    arguments = mapping(body.get("completion_args"))
    request.cap = count(arguments.get("max_tokens"))
    request.structured = is_structured(arguments.get("response_format"))
    _read_tools(request, body)
    if earlier is None:
        return
    request.elsewhere = "an earlier conversation"
    request.model = _models.get(earlier, earlier)


def _read_tools(request: Request, body: Mapping[str, Any]) -> None:
    for tool in items(body.get("tools")):
        kind = mapping(tool).get("type", "function")
        if kind != "function":
            request.elsewhere = f"what the server-side tool {kind} brings"


def _read_embeddings(request: Request, body: Mapping[str, Any]) -> None:
    request.operation, request.output = "embeddings", False


def _read_ocr(request: Request, body: Mapping[str, Any]) -> None:
    """Billed by the page, and more where annotations are asked for."""
    request.operation, request.output = "ocr", False
    request.body = {}
    pages = _pages(body)
    request.fees = (("page", pages),)
    if body.get("bbox_annotation_format") or body.get("document_annotation_format"):
        request.fees = (("page", pages), ("annotated_page", pages))


def _with_annotations(answer: Answer, request: Request) -> Answer:
    """An answer with as many annotated pages as pages, where annotations were asked for and it counts none apart."""
    usage = answer.usage
    if usage is None or "annotated_page" not in dict(request.fees) or "annotated_page" in dict(usage.fees):
        return answer
    fees = (*usage.fees, ("annotated_page", dict(usage.fees).get("page", 0)))
    return msgspec.structs.replace(answer, usage=msgspec.structs.replace(usage, fees=fees))


def _pages(body: Mapping[str, Any]) -> int:
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


_READERS: dict[str, Callable[[Request, Mapping[str, Any]], None]] = {
    **dict.fromkeys(_CHAT, _read_chat),
    _RESPONSES: read_responses,
    _EMBEDDINGS: _read_embeddings,
    _OCR: _read_ocr,
    _TRANSCRIPTS: _read_transcript,
}

HOOKS = (
    *hooks("mistralai.client", _Mistral("mistral")),
    *(hook for package, provider in _PROVIDERS.items() for hook in hooks(package, _Mistral(provider))),
    *(
        Hook(f"mistralai.extra.realtime.{module}", f"{name}.connect", refuse_connection)
        for module, name in (("speech", "RealtimeSpeech"), ("transcription", "RealtimeTranscription"))
    ),
)
