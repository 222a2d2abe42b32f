"""The Groq SDK, which speaks like OpenAI's."""

from __future__ import annotations

from budgeted.providers.stainless_generated_sdks import SDK, hooks
from budgeted.wire.request_formats.openai import Groq

HOOKS = hooks("groq", SDK(Groq(), lambda *_: "groq"))
