"""OpenAI's pictures and sound: what such a request may cost.

Pictures of the newer models, transcripts and speech are billed by tokens, which most answers report. The older ones are
billed by the picture, the character or the minute: the price list knows none of those, so they have the price that
`register_price` gives them, `per_call` being for each picture, and `input` for a million characters.
"""

from __future__ import annotations

import math

from budgeted.pricing import token_types
from budgeted.pricing.usage import Usage
from budgeted.wire import sound_duration
from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats.http_request import FILES, Body, HTTPRequest
from budgeted.wire.request_formats.parameter_coercion import items, times

_PICTURES = ("/images/generations", "/images/edits", "/images/variations")
_SPEECH = "/audio/speech"
_TRANSCRIPTS = ("/audio/transcriptions", "/audio/translations")
MOST_PICTURE_TOKENS = {"low": 408, "medium": 1_584, "high": 6_240, "auto": 6_240}
"""The most output tokens of one picture, by its quality (https://developers.openai.com/api/docs/guides/image-generation)."""

MOST_PICTURE_TOKENS_DEFAULT = 25_000
PARTIAL_PICTURE_TOKENS = 100
SPEECH_TOKENS_PER_LETTER = 4
SPEECH_TOKENS_PER_SIGN = 16
"""Speech has some 21 tokens per second; slow speech six letters, or one and a half of what is a word or a pause each:
digits, signs, letters of other scripts. Nobody states a bound, so this is a generous one."""

LIKELY_SPEECH_TOKENS = 2
"""Of a character, at the speed at which people usually talk, and some more."""

MOST_SOUND_MS = 100 * 2**20 * 1000 // sound_duration.LEAST_BYTES_PER_SECOND
"""Of a recording whose size nobody sees: 100 MB are the most that any of them takes.

https://console.groq.com/docs/speech-to-text; at OpenAI's it is 25 MB.
"""

_DEFAULTS = {_PICTURES[0]: "dall-e-2", _PICTURES[1]: "gpt-image-1", _PICTURES[2]: "dall-e-2"}
"""The model that answers if none is named."""


def read(http: HTTPRequest) -> Request | None:
    """A request for pictures or sound as a call to meter, or None if it is for neither.

    Args:
        http: as it is about to be sent.
    """
    path = next((path for path in (*_PICTURES, _SPEECH, *_TRANSCRIPTS) if http.path.endswith(path)), None)
    if path is None:
        return None
    body = http.body
    request = Request(
        provider=http.provider,
        model=str(body.get("model") or _DEFAULTS.get(path, "")),
        body={name: body[name] for name in ("prompt", "input", "instructions") if body.get(name) is not None},
        base_url=http.base_url,
        cappable=False,
    )
    if path in _PICTURES:
        _read_pictures(request, body)
    elif path == _SPEECH:
        _read_speech(request, body)
    else:
        _read_transcript(request, body)
    return request


def _read_pictures(request: Request, body: Body) -> None:
    request.operation = "image_generation"
    request.kinds = token_types.IMAGE | token_types.IMAGE_OUT
    request.n = request.units = times(body.get("n"))
    quality = body.get("quality") or "auto"
    most = MOST_PICTURE_TOKENS.get(quality) if isinstance(quality, str) else None
    request.cap = (most or MOST_PICTURE_TOKENS_DEFAULT) + PARTIAL_PICTURE_TOKENS * (
        times(body.get("partial_images"), 0)
    )
    files = items(body.get(FILES))
    if files:
        request.body = {**request.body, "pictures": [{"type": "image"}] * len(files)}


def _read_speech(request: Request, body: Body) -> None:
    request.operation = "speech"
    request.kinds = token_types.AUDIO_OUT
    text = body.get("input")
    characters = len(text) if isinstance(text, str) else 0
    if request.model.startswith("tts-"):
        request.output = False
        request.known = Usage(characters)
    else:
        request.cap = _most_speech_tokens(text if isinstance(text, str) else "", body)
        request.likely = Usage(0, min(LIKELY_SPEECH_TOKENS * max(characters, 10), request.cap))


def _most_speech_tokens(text: str, body: Body) -> int:
    letters = sum(sign.isascii() and (sign.isalpha() or sign == " ") for sign in text)
    most = SPEECH_TOKENS_PER_LETTER * letters + SPEECH_TOKENS_PER_SIGN * (len(text) - letters)
    if body.get("instructions"):
        most *= 2  # they may ask for slow speech
    speed = body.get("speed")
    if isinstance(speed, (int, float)) and 0.1 <= speed < 1:
        most = math.ceil(most / speed)
    return max(most, 100)


def _read_transcript(request: Request, body: Body) -> None:
    request.operation = "transcription"
    request.kinds = token_types.AUDIO
    request.elsewhere = "a recording"
    lengths = [sound_duration.most_milliseconds(file) for file in items(body.get(FILES))]
    told = [length for length in lengths if length is not None]
    # Groq's takes an address, too, of which nothing is seen, and others such as have no size.
    # An empty one is the provider's to refuse: 0 would say that nothing is billed by time.
    request.audio_ms = max(1, sum(told)) if told and len(told) == len(lengths) else MOST_SOUND_MS
