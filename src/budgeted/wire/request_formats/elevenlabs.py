"""ElevenLabs' speech, which is billed by the character (https://elevenlabs.io/docs/api-reference/text-to-speech)."""

from __future__ import annotations

import re

from budgeted.pricing.usage import Usage
from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats.http_request import Format, HTTPRequest, unseen_at

_SPEECH = re.compile(r".*/text-to-speech/[^/]+(?:/stream)?(?:/with-timestamps)?")
_UNSEEN = {
    "/speech-to-text": "a transcript",
    "/sound-generation": "sound that is made",
    "/text-to-dialogue": "a dialogue",
    "/audio-isolation": "sound that is isolated",
    "/dubbing": "dubbing",
    "/music": "music",
    "/music/compose": "music",
    "/text-to-voice/design": "a voice that is designed",
}
_DEFAULT = "eleven_multilingual_v2"
"""The model that speaks if none is named."""


class ElevenLabs(Format):
    """What is spoken."""

    model_name = "model_id"

    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed."""
        if _SPEECH.fullmatch(http.path) is None:
            return unseen_at(http, _UNSEEN)
        said = http.body.get("text")
        return Request(
            provider=http.provider or "elevenlabs",
            operation="speech",
            model=str(http.body.get("model_id") or _DEFAULT),
            body={"input": said} if isinstance(said, str) else {},
            base_url=http.base_url,
            output=False,
            cappable=False,
            known=Usage(len(said) if isinstance(said, str) else 0),
        )
