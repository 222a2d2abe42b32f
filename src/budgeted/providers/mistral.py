"""The Mistral SDK, with its clients for Azure and Google Cloud: completions, conversations, embeddings and OCR."""

from __future__ import annotations

import functools
from typing import Any

from budgeted.metering.call import Call
from budgeted.providers.metered_method import End, http_end
from budgeted.providers.monkeypatching import Hook
from budgeted.providers.speakeasy_generated_sdks import SDK, hooks
from budgeted.providers.unmeterable_requests import refuse_connection
from budgeted.wire import response_usage
from budgeted.wire.request_formats.mistral import Mistral, remember, with_annotations
from budgeted.wire.sdk_object_fields import json_of

_PROVIDERS = {
    "mistralai.client": "mistral",
    "mistralai.azure.client": "azure",
    "mistralai.gcp.client": "google",
}


def _finish(call: Call, response: Any) -> End | None:
    """How a call ends with its HTTP response; None for one that ends it when it has been read."""
    end = http_end(call, response)
    if end is None or response.status_code >= 400:
        return end
    if call.request.operation == "ocr":
        return functools.partial(call.settle, with_annotations(response_usage.read(response), call.request))
    if b'"conversation_id"' in response.content:
        remember((json_of(response.content) or {}).get("conversation_id"), call.request.model)
    return end


HOOKS = (
    *(
        hook
        for package, provider in _PROVIDERS.items()
        for hook in hooks(package, SDK(Mistral(), provider, finish=_finish))
    ),
    *(
        Hook(f"mistralai.extra.realtime.{module}", f"{name}.connect", refuse_connection)
        for module, name in (("speech", "RealtimeSpeech"), ("transcription", "RealtimeTranscription"))
    ),
)
