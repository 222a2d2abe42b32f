"""The Groq SDK, which speaks like OpenAI's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from budgeted.providers.openai import OpenAI
from budgeted.providers.stainless_generated_sdks import hooks
from budgeted.wire.normalized_request import Request


class Groq(OpenAI):
    """Chat completions and embeddings. Its streams always say their usage, in the last chunk's ``x_groq``."""

    provider = "groq"

    def read(self, client: Any, url: str, body: Mapping[str, Any]) -> Request | None:
        """The request as a call to meter, or None if it is not billed by tokens."""
        request = super().read(client, url, body)
        if request is not None:
            request.exact_bytes = False
            if str(body.get("model")).startswith(("groq/compound", "compound-beta")):
                request.elsewhere = "what the server-side tools of its system bring"
        return request

    def cap_name(self, url: str, request: Request) -> str:  # noqa: ARG002 - the dialects are alike
        """What a request's output cap is called."""
        return "max_completion_tokens"

    def ask_usage(self, url: str, request: Request, body: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:  # noqa: ARG002 - as above
        """Nothing: it is told unasked."""
        return {}, False


HOOKS = hooks("groq", Groq())
