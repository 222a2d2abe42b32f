"""The tier that a header asks Vertex AI for, whichever of its APIs is asked, at another price than the standard one's.

https://docs.cloud.google.com/vertex-ai/generative-ai/docs/priority-paygo
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from budgeted.pricing.service_tiers import tier_of
from budgeted.wire.normalized_request import Request

HEADER: Final = "x-vertex-ai-llm-shared-request-type"

_DEARER: Final = "priority"


def note(request: Request, headers: Mapping[str, str]) -> None:
    """Note the tier, if it is a dearer one: a cheaper one is not served by every model, and what was served is told.

    Args:
        request: as it was read.
        headers: of the request, by names in lower case.
    """
    if tier_of(headers.get(HEADER, "")) == _DEARER:
        request.tier = _DEARER
