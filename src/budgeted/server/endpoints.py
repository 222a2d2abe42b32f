"""What the server offers: each endpoint with its types, from which it is routed, checked and documented."""

from __future__ import annotations

from budgeted.server.budget_endpoints import CHANGING, LOOKING
from budgeted.server.endpoint import Endpoint
from budgeted.server.litellm_endpoints import LITELLM
from budgeted.server.verb_endpoints import VERBS

BUDGETS: tuple[Endpoint, ...] = (*LOOKING, *CHANGING)
"""Those for people and their scripts."""

ENDPOINTS: tuple[Endpoint, ...] = (*BUDGETS, *LITELLM, *VERBS)
