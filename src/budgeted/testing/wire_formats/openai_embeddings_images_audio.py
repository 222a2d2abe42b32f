"""OpenAI's APIs that are not for completions: embeddings, images, speech and the list of models."""

from __future__ import annotations

import base64
import struct
from typing import Any

import msgspec

from ..billing import PRICES
from ..simulated_model import Answer, Call, prompt_tokens
from .api_interface import Api, positive, required
from .openai_chat_completions import BROKEN, failure, model_of, text_or_ids

DIMENSIONS = 8
IMAGE_TOKENS = 272  # of the smallest image at low quality

RECORDING_TOKENS = 140

# One transparent pixel.
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def _read_embeddings(path: str, body: dict[str, Any]) -> Call:
    parts = _inputs(required(body, "input", (str, list)))
    tokens = sum(text_or_ids(part) for part in parts)
    return Call(api="embeddings", model=model_of(path, body), body=body, input_tokens=tokens, writes=False)


def _inputs(given: Any) -> list[Any]:
    is_one = isinstance(given, str) or all(isinstance(part, int) for part in given)
    return [given] if is_one else list(given)


def _embeddings_body(call: Call, answer: Answer) -> dict[str, Any]:
    vector: Any = [0.25] * (positive(call.body, "dimensions") or DIMENSIONS)
    if call.body.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index in range(len(_inputs(call.body["input"])))
    ]
    tokens = answer.counts.input_tokens
    shown = answer.shown_usage({"prompt_tokens": tokens, "total_tokens": tokens})
    body = {"object": "list", "data": data, "model": answer.model}
    return body if shown is None else body | {"usage": shown}


def _read_images(path: str, body: dict[str, Any]) -> Call:
    return Call(
        api="images",
        model=model_of(path, {"model": "gpt-image-1"} | body),
        body=body,
        length=IMAGE_TOKENS,
        choices=int(positive(body, "n") or 1),
        input_tokens=max(1, prompt_tokens(required(body, "prompt", str))),
    )


def _images_body(call: Call, answer: Answer) -> dict[str, Any]:
    counts = answer.counts
    if call.model.startswith("dall-e"):
        return {"created": answer.created, "data": [{"b64_json": PICTURE} for _ in answer.texts]}
    true = {
        "input_tokens": counts.input_tokens,
        "input_tokens_details": {"text_tokens": counts.input_tokens, "image_tokens": 0},
        "output_tokens": counts.output_tokens,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": counts.output_tokens},
        "total_tokens": counts.input_tokens + counts.output_tokens,
    }
    body = {"created": answer.created, "data": [{"b64_json": PICTURE} for _ in answer.texts]}
    shown = answer.shown_usage(true)
    return body if shown is None else body | {"usage": shown}


def _read_transcript(path: str, body: dict[str, Any]) -> Call:
    return Call(api="transcription", model=model_of(path, body), body=body, input_tokens=RECORDING_TOKENS)


def _transcript_body(_call: Call, answer: Answer) -> dict[str, Any]:
    counts = answer.counts
    true = {
        "type": "tokens",
        "input_tokens": counts.input_tokens,
        "input_token_details": {"text_tokens": counts.input_tokens, "audio_tokens": 0},
        "output_tokens": counts.output_tokens,
        "total_tokens": counts.input_tokens + counts.output_tokens,
    }
    shown = answer.shown_usage(true)
    return {"text": answer.texts[0]} if shown is None else {"text": answer.texts[0], "usage": shown}


def _read_speech(_path: str, body: dict[str, Any]) -> Call:
    characters = len(required(body, "input", str))
    call = Call(api="speech", model=required(body, "model", str), body=body, input_tokens=characters, writes=False)
    if call.model.startswith("tts-"):
        return call  # billed by the character
    tokens = max(1, prompt_tokens(body["input"], body.get("instructions") or ""))
    return msgspec.structs.replace(call, input_tokens=tokens, writes=True, length=max(1, characters * 3 // 2))


def _speech_body(call: Call, _answer: Answer) -> bytes:
    return bytes(len(call.body["input"]) * (1 if call.model.startswith("tts-") else 1_000))  # silence


def models(_path: str, _body: dict[str, Any]) -> dict[str, Any]:
    """Return the list of models, which is free."""
    data = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "simulated"} for name in PRICES]
    return {"object": "list", "data": data}


EMBEDDINGS = Api(_read_embeddings, _embeddings_body, None, failure, BROKEN)
IMAGES = Api(_read_images, _images_body, None, failure, BROKEN)
TRANSCRIPT = Api(_read_transcript, _transcript_body, None, failure, BROKEN)
SPEECH = Api(_read_speech, _speech_body, None, failure, BROKEN, media_type="audio/mpeg", tells_usage=False)
