"""The interactions of Google's Gen AI SDK, and its decisions: a client of its own inside it, made by Speakeasy."""

from __future__ import annotations

from budgeted.providers.speakeasy_generated_sdks import SDK, hooks
from budgeted.wire.request_formats.google_interactions import Interactions

HOOKS = hooks(
    "google.genai._gaos",
    SDK(Interactions(), "google"),
    asynchronous="AsyncBaseSDK",
    retries=("retry_with_backoff", "retry_with_attempt_count_backoff"),
)
