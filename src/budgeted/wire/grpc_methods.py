"""Which API a request over gRPC is for: by its method's full name, as the host may be anybody's."""

from __future__ import annotations

import functools
import re
from typing import Final

import msgspec

from budgeted.wire.request_formats.google_gemini import Gemini
from budgeted.wire.request_formats.http_request import Body, Format
from budgeted.wire.request_formats.xai import XAI

_GOOGLES: Final = re.compile(
    r"/google\.(?:ai\.generativelanguage|cloud\.aiplatform)\.(?P<version>\w+)\.(?P<service>\w+)/(?P<name>\w+)"
)
_XAIS: Final = re.compile(r"/xai_api\.(?P<service>\w+)/(?P<name>\w+)")

_REST: Final = {
    "GenerateContent": ":generateContent",
    "StreamGenerateContent": ":streamGenerateContent",
    "EmbedContent": ":embedContent",
    "BatchEmbedContents": ":batchEmbedContents",
    "Predict": ":predict",
    "CreateCachedContent": "/cachedContents",
    "CreateBatchPredictionJob": "/batchPredictionJobs",
    "CreateTuningJob": "/tuningJobs",
    "CreateTunedModel": "/tunedModels",
}
"""How the paths end by which Google's methods are asked for over REST, where the model's name is in the path."""

_SERVING: Final = frozenset(
    "GenerativeService PredictionService TextService DiscussService LlmBidiService "
    "Chat Sample Image Embedder Video BatchMgmt Documents".split()
)
"""Services whose methods are paid for, but for a few."""

_FREE: Final = re.compile(r"(?:Count|Compute|Get(?!Completion)|List|Delete|Cancel)\w+")
"""Methods of theirs that tell, count or drop something."""


class Method(msgspec.Struct, frozen=True):
    """A method of an API that is paid for.

    Args:
        read_by: its requests' format; None if nobody knows what is asked by it.
        provider: whose API it is, as genai-prices names it.
        before: what the path over REST begins with; "" if its name is its path.
        after: and ends with.
    """

    read_by: Format | None
    provider: str
    before: str = ""
    after: str = ""

    @property
    def rest_names(self) -> bool:
        """Whether its format knows the fields of messages as REST names them, in camel case."""
        return bool(self.after)

    def path(self, name: str, body: Body) -> str:
        """What a request asks for, as its format reads it.

        Args:
            name: the method's full name.
            body: the message's fields.
        """
        if not self.after:
            return name
        return f"{self.before}{body.get('model') or body.get('endpoint') or ''}{self.after}"

    def model(self, path: str) -> dict[str, str]:
        """The field that names the model of a request which is sent to another one, with its name.

        Args:
            path: as its format has written it.
        """
        field = "endpoint" if self.after == ":predict" else "model"
        return {field: path.removeprefix(self.before).removesuffix(self.after)} if self.after else {}


# Remembered, as every request that somebody pays for asks for it.
@functools.lru_cache(maxsize=4096)
def method(name: str) -> Method | None:
    """A method of an API that is paid for; None if it is for nothing, or nobody's that is known.

    Args:
        name: in full: ``/xai_api.Chat/GetCompletion``.
    """
    if XAI.knows(name):
        return Method(XAI(), "x-ai")
    googles = _GOOGLES.fullmatch(name)
    if googles is not None and googles["name"] in _REST:
        return Method(Gemini(), "google", f"/{googles['version']}/", _REST[googles["name"]])
    found = googles or _XAIS.fullmatch(name)
    if found is None or found["service"] not in _SERVING or _FREE.fullmatch(found["name"]):
        return None
    return Method(None, "x-ai" if googles is None else "google")
