"""ElevenLabs' speech on the wire: a header tells the characters that are billed.

https://elevenlabs.io/docs/api-reference/text-to-speech/convert
"""

from __future__ import annotations

from typing import Any

from ..simulated_model import Answer, Call
from .api_interface import Api, required
from .openai_chat_completions import BROKEN

DEFAULT_MODEL = "eleven_multilingual_v2"


def failure(status: int, message: str) -> dict[str, Any]:
    """Return the body of an error."""
    return {"detail": {"status": str(status), "message": message}}


def _read(_path: str, body: dict[str, Any]) -> Call:
    characters = len(required(body, "text", str))
    model = body.get("model_id") or DEFAULT_MODEL
    return Call(api="speech", model=model, body=body, input_tokens=characters, writes=False)


def _body(call: Call, _answer: Answer) -> bytes:
    return bytes(len(call.body["text"]) * 100)  # silence


def _headers(answer: Answer) -> dict[str, str]:
    true = {"character-cost": str(answer.counts.input_tokens)}
    return answer.shown_usage(true) if answer.says_usage else {}


SPEECH = Api(_read, _body, None, failure, BROKEN, media_type="audio/mpeg", headers=_headers)
