"""The OpenAI SDK, 2.x and 3.x, with its Azure client and every endpoint that speaks like OpenAI's."""

from __future__ import annotations

from budgeted.providers.monkeypatching import Hook
from budgeted.providers.stainless_generated_sdks import SDK, hooks
from budgeted.providers.unmeterable_requests import refuse_connection
from budgeted.wire.provider_hosts import provider_at
from budgeted.wire.request_formats.openai import OpenAI


def _provider(lineage: str, address: str) -> str:
    return "azure" if "Azure" in lineage else provider_at(address) or "openai"


HOOKS = (
    *hooks("openai", SDK(OpenAI(), _provider)),
    *(
        Hook(f"openai.resources.{module}", f"{kind}{name}.connect", refuse_connection)
        for module, name in (
            ("realtime.realtime", "Realtime"),
            ("beta.realtime.realtime", "Realtime"),
            ("realtime.translations.translations", "Translations"),
            ("live.live", "Live"),
            ("live.forks", "Forks"),
            ("live.sideband", "Sideband"),
            ("responses.responses", "Responses"),
            ("beta.responses.responses", "Responses"),
        )
        for kind in ("", "Async")
    ),
)
